"""Options of `serve` as users of llama-server, vLLM and Ollama write them: the error says what they are called here."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

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
    "--max-draft": "--draft-max --spec-draft-n-max --num-speculative-tokens",
    "--keep-alive": "--sleep-idle-seconds",
    "--tls-cert": "--ssl-cert-file --ssl-certfile",
    "--tls-key": "--ssl-key-file --ssl-keyfile",
    "--cors-origins": "--allowed-origins",
}
"""Our option -> what others call it."""

ELSEWHERE = {
    "edgeinfer key add NAME makes a key": "--api-key",
    "edgeinfer pull OWNER/REPO downloads it first": "-hf --hf-repo -hfr",
    "other names of a model are its aliases in the configuration file": "-a --alias --served-model-name",
    "a model's own template is used": "--jinja --chat-template --chat-template-file",
}
"""What to do instead -> options of others."""

HINTS = {name: f"here it is {ours}" for ours, names in OPTIONS.items() for name in names.split()} | {
    name: hint for hint, names in ELSEWHERE.items() for name in names.split()
}


class CommandWithHints(TyperCommand):
    """A command that knows what other servers call its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for argument in args:
            if hint := HINTS.get(argument.partition("=")[0]):
                ctx.fail(f"No such option: {argument.partition('=')[0]}; {hint}")
        return super().parse_args(ctx, args)
