"""Inputs that are texts or tokens: how they become prompts, and what is refused early."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeinfer.chat.prompt import MAX_TOKEN_CHARS
from edgeinfer.errors import InvalidRequest, UnsupportedParameter, context_exceeded
from edgeinfer.inference.types import ModelInfo, Prompt, Span

Input = str | Sequence[int | str]
"""A text, or tokens, among which there may be texts."""


def input_prompt(content: Input, *, trusted: bool) -> Prompt:
    """The input as a prompt. `trusted`: control tokens written out in a text are recognised."""
    if isinstance(content, str):
        return [Span(content, trusted)]
    return [Span(part, trusted) if isinstance(part, str) else part for part in content]


def check_inputs(inputs: Iterable[Input], info: ModelInfo, param: str) -> None:
    """Check what needs no counting of tokens.

    Raises:
        InvalidRequest: the model does not have a token.
        ContextLengthExceeded: a list of tokens is longer than the context, or a text far longer.
    """
    for content in inputs:
        if isinstance(content, str):
            check_length(content, info, param)
        elif len(content) > info.ctx:
            tokens = len(content)
            raise context_exceeded(
                info.ctx,
                f"a list has {tokens} tokens",
                tokens=tokens,
                trained=info.n_ctx_train,
                param=param,
            )
        else:
            check_length("".join(part for part in content if isinstance(part, str)), info, param)
            highest = max((part for part in content if isinstance(part, int)), default=0)
            if highest >= info.vocab_size:
                message = f"token {highest} is outside the vocabulary of {info.vocab_size}"
                raise InvalidRequest(message, param=param)


def check_length(text: str, info: ModelInfo, param: str) -> None:
    """Raises ContextLengthExceeded for a text that is far longer than the context."""
    if len(text) > info.ctx * MAX_TOKEN_CHARS:
        raise context_exceeded(
            info.ctx,
            f"a text has {len(text)} characters, far more than that",
            trained=info.n_ctx_train,
            param=param,
        )


def check_num_ctx(num_ctx: int | None, info: ModelInfo) -> None:
    """Raises UnsupportedParameter for a caller that counts on more context than there is."""
    if num_ctx is None or num_ctx <= info.ctx:
        return
    if num_ctx <= (info.n_ctx_train or num_ctx):
        hint = f"ctx = {num_ctx} in the configuration file, or --ctx, makes it larger"
    else:
        hint = f"the model was trained for {info.n_ctx_train}: ask for no more, or for another model"
    raise UnsupportedParameter(
        f"num_ctx is {num_ctx}, and the context of {info.name} has {info.ctx} tokens",
        param="num_ctx",
        hint=hint,
    )
