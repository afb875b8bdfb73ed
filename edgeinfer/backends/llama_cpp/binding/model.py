"""A loaded GGUF model: its weights and its metadata."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib

from edgeinfer.backends.llama_cpp.binding.libraries import load_backends
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.tokenizer_limits import TokenizerLimits
from edgeinfer.backends.llama_cpp.binding.vocab import LlamaVocab
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ModelLoadFailed, NoGPU
from edgeinfer.inference.model_limits import check_control_tokens, check_template
from edgeinfer.inference.types import ModelInfo

SHARES = ("qwen3", "qwen3vl")
"""Architectures whose rerankers end in a softmax over their labels."""

LOAD_READ, LOAD_MMAP = 0, 1
"""llama_load_mode."""

POOLING_NONE, POOLING_MEAN, POOLING_LAST, POOLING_RANK = 0, 1, 3, 4
"""llama_pooling_type."""

SAMPLING_KEYS = {
    "general.sampling.temp": ("temperature", 100),
    "general.sampling.top_k": ("top_k", 1_000_000),
    "general.sampling.top_p": ("top_p", 1),
    "general.sampling.min_p": ("min_p", 1),
}
"""Metadata key -> our name, and the largest value that makes sense; the smallest is 0."""


PROGRESS_STEP = 0.01
"""Share of a model between two reports that it is being read."""


class LlamaModel:
    """Owns a llama_model. `close` frees it; contexts made from it must be closed first."""

    def __init__(
        self, config: LlamaConfig, log: LogCapture, progress: Callable[[float], None] = lambda _: None
    ) -> None:
        """`progress` is called now and then with the share of the weights that have been read."""
        load_backends()
        if config.gpu_layers and not lib.llama_supports_gpu_offload():
            raise NoGPU(
                f"llama.cpp finds no GPU for {config.model}",
                hint="set gpu_layers = 0 to run without one; edgeinfer plan shows what this machine has",
            )
        self.log = log
        params = lib.llama_model_default_params()
        params.n_gpu_layers = config.gpu_layers
        if config.main_gpu is not None:
            params.split_mode, params.main_gpu = lib.LLAMA_SPLIT_MODE_NONE, config.main_gpu
        params.load_mode = LOAD_MMAP if config.mmap else LOAD_READ
        params.use_extra_bufts = config.repack
        params.progress_callback = reporting(progress)
        self.pointer = lib.llama_model_load_from_file(str(config.model).encode(), params)
        if not self.pointer:
            raise ModelLoadFailed(
                f"{config.model}: {log.reason}",
                hint="check that it is a complete GGUF file of a known architecture",
            )
        tokenizer, pre = self.meta("tokenizer.ggml.model"), self.meta("tokenizer.ggml.pre")
        limits = TokenizerLimits(tokenizer or "", pre or "")
        self.vocab = LlamaVocab(lib.llama_model_get_vocab(self.pointer), limits)
        self.n_embd = int(lib.llama_model_n_embd_out(self.pointer))
        self.n_ctx_train = int(lib.llama_model_n_ctx_train(self.pointer))

    @property
    def has_decoder(self) -> bool:
        """The model can generate; False for models such as BERT, which only embed."""
        causal = self.meta(f"{self.meta('general.architecture')}.attention.causal")
        return bool(lib.llama_model_has_decoder(self.pointer)) and causal != "false"

    @property
    def removes_tails(self) -> bool:
        """False for a recurrent model: its state holds all tokens of a sequence together."""
        recurrent, hybrid = lib.llama_model_is_recurrent, lib.llama_model_is_hybrid
        return not recurrent(self.pointer) and not hybrid(self.pointer)

    @property
    def n_scores(self) -> int:
        """How many scores the head of a reranker gives."""
        return int(lib.llama_model_n_cls_out(self.pointer))

    @property
    def pooling(self) -> int | None:
        """The llama_pooling_type that the file asks for, None if it does not say."""
        value = self.meta(f"{self.meta('general.architecture')}.pooling_type")
        return int(value) if value and value.isdigit() else None

    def meta(self, key: str) -> str | None:
        """A metadata value as text, None if the file lacks it."""
        size = lib.llama_model_meta_val_str(self.pointer, key.encode(), None, 0)
        if size < 0:
            return None
        buffer = ctypes.create_string_buffer(size + 1)
        lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, size + 1)
        return buffer.value.decode("utf-8", "replace")

    def chat_templates(self) -> dict[str, str]:
        """The file's Jinja templates by name; the plain one is "default"."""
        templates = {}
        for name in (None, "tool_use"):
            if template := self._template(name):
                templates[name or "default"] = template
        return templates

    def rerank_template(self) -> str | None:
        """The text of a pair, with {query} and {document}; None if the file has none."""
        return self._template("rerank")

    def _template(self, name: str | None) -> str | None:
        source = lib.llama_model_chat_template(self.pointer, name.encode() if name else None)
        if not source:
            return None
        template: str = source.decode("utf-8", "replace")
        check_template(template)
        return template

    def sampling(self) -> dict[str, float]:
        """The sampling values that the file recommends, without those out of range."""
        values = {}
        for key, (name, limit) in SAMPLING_KEYS.items():
            with contextlib.suppress(ValueError):
                value = float(self.meta(key) or "nan")
                if 0 <= value <= limit:
                    values[name] = value
        return values

    def info(self, config: LlamaConfig) -> ModelInfo:
        """Raises ModelLoadFailed for a vocabulary or a template that is out of all proportion."""
        check_control_tokens(self.vocab.control_tokens())
        reranks = config.reranks or self.pooling == POOLING_RANK
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(self.pointer, buffer, 256)
        return ModelInfo(
            name=config.name,
            path=str(Path(config.model).resolve()),
            architecture=self.meta("general.architecture") or "",
            description=buffer.value.decode("utf-8", "replace").replace(" ?B", ""),  # a size it does not know
            n_params=int(lib.llama_model_n_params(self.pointer)),
            size=int(lib.llama_model_size(self.pointer)),
            vocab_size=self.vocab.size,
            n_embd=self.n_embd,
            n_ctx_train=self.n_ctx_train,
            ctx=config.ctx,
            parallel=config.parallel,
            generates=self.has_decoder and not reranks,
            add_bos=self.vocab.add_bos,
            bos=self.vocab.text(self.vocab.bos),
            eos=self.vocab.text(self.vocab.eos),
            control_tokens=self.vocab.control_tokens(),
            chat_templates=self.chat_templates(),
            sampling=self.sampling(),
            fim=self.vocab.fim,
            reranks=reranks,
            score_shares=reranks and self.meta("general.architecture") in SHARES,
            draft_model=config.draft_model or "",
        )

    def close(self) -> None:
        if self.pointer:
            lib.llama_model_free(self.pointer)
            self.pointer = None


def reporting(progress: Callable[[float], None]) -> Any:
    """A llama_progress_callback that calls `progress` whenever there has been some."""
    reported = 0.0

    def report(share: float, _: object) -> bool:
        nonlocal reported
        if share >= reported + PROGRESS_STEP:
            reported = share
            progress(share)
        return True  # go on

    return lib.llama_progress_callback(report)
