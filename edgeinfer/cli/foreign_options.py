"""Options as users of llama-server, vLLM and Ollama write them: the error says what they are called here."""

from __future__ import annotations

from collections.abc import Collection

OPTIONS = {
    "--model": "-m --model-path",
    "--ctx": "-c --ctx-size --n_ctx --max-model-len --context-length --num-ctx",
    "--parallel": "-np --max-num-seqs --num-parallel",
    "--threads": "-t --n_threads --num-thread",
    "--gpu-layers": "-ngl --n-gpu-layers --n_gpu_layers --num-gpu",
    "--batch": "-b --batch-size --n_batch --max-num-batched-tokens",
    "--ubatch": "-ub --ubatch-size",
    "--flash-attention": "-fa --flash-attn",
    "--kv-type": "-ctk -ctv --cache-type-k --cache-type-v --kv-cache-dtype",
    "--ram-cache-mb": "-cram --cache-ram",
    "--max-draft": "--draft-max --spec-draft-n-max --num-speculative-tokens",
    "--draft-model": "-md --model-draft --spec-draft-model --speculative-model --speculative-config",
    "--keep-alive": "--sleep-idle-seconds",
    "--tls-cert": "--ssl-cert-file --ssl-certfile",
    "--tls-key": "--ssl-key-file --ssl-keyfile",
    "--cors-origins": "--allowed-origins",
    "--temperature": "-t --temp",
    "--max-tokens": "-n --n-predict --num-predict",
    "--system": "-s -sys --system-prompt",
    "--json": "--format",
}
"""Our option -> what others call it."""

ELSEWHERE = {
    "edgeinfer key add NAME makes a key": "--api-key",
    "edgeinfer pull OWNER/REPO downloads it first": "-hf --hf-repo -hfr",
    "other names of a model are its aliases in the configuration file": "-a --alias --served-model-name",
    "a model's own template is used": "--jinja --chat-template --chat-template-file",
}
"""What to do instead -> options of others."""


NAMES = frozenset(name for names in (*OPTIONS.values(), *ELSEWHERE.values()) for name in names.split())


def foreign_option_hint(option: str, known: Collection[str]) -> str | None:
    """Say what an option of another program is called here, where the command has that; None if nothing is known."""
    for ours, names in OPTIONS.items():
        if option in names.split() and ours in known:
            return f"here it is {ours}"
    return next((hint for hint, names in ELSEWHERE.items() if option in names.split()), None)
