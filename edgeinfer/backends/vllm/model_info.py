"""Facts about a model that vLLM serves, from its folder."""

from __future__ import annotations

from edgeinfer.backends.vllm.config import VllmConfig
from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.model_limits import check_control_tokens, check_template
from edgeinfer.inference.types import FimTokens, ModelInfo
from edgeinfer.safetensors.folder import ModelFolder, TokenizerFacts

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>")
"""The tokens around the parts of a fill-in-the-middle prompt, as Qwen's coders have them."""


def model_info(config: VllmConfig, folder: ModelFolder, tokenizer: TokenizerFacts) -> ModelInfo:
    """Describe the model. Raises ModelLoadFailed for a folder that cannot be served."""
    if not folder.generates:
        raise ModelLoadFailed(
            f"{config.name} generates no text, and vLLM is only used for models that do",
            param="model",
            hint="for embeddings and reranking, use the model's GGUF file",
        )
    check_control_tokens(tokenizer.vocabulary.added)
    for template in tokenizer.chat_templates.values():
        check_template(template)
    quantized = f", {folder.quantization}" if folder.quantization else ""
    return ModelInfo(
        name=config.name,
        path=config.model,
        architecture=folder.architecture,
        description=f"{folder.architecture} {folder.parameters / 1e9:.2f}B {folder.dtype}{quantized}",
        n_params=folder.parameters,
        size=folder.size,
        vocab_size=folder.vocabulary,
        n_embd=folder.embedding,
        n_ctx_train=folder.context,
        ctx=config.ctx,
        parallel=config.parallel,
        generates=True,
        add_bos=tokenizer.add_bos,
        bos=tokenizer.bos,
        eos=tokenizer.eos,
        control_tokens=tuple(tokenizer.vocabulary.added),
        chat_templates=tokenizer.chat_templates,
        sampling=folder.sampling,
        fim=_fim(tokenizer.vocabulary.added),
        revision=folder.revision,
    )


def _fim(added: dict[str, int]) -> FimTokens | None:
    prefix, suffix, middle, repo, file = (added.get(text) for text in FIM)
    if prefix is None or suffix is None or middle is None:
        return None
    return FimTokens(prefix, suffix, middle, repo, file)
