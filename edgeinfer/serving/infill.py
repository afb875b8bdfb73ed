"""One infill request: code that an editor wants between a prefix and a suffix."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from edgeinfer.chat.fim import (
    NEEDS_FIM,
    FimParts,
    extra_file_text,
    fim_prompt,
    fit_parts,
    surely_fits,
    untrusted_text,
)
from edgeinfer.errors import ContextLengthExceeded, InvalidRequest, context_exceeded
from edgeinfer.inference.merge import Deltas
from edgeinfer.inference.types import FimTokens, ModelInfo, Prompt, Span, Tokens
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.inputs import check_length, check_num_ctx
from edgeinfer.serving.sampling import resolve_sampling

MAX_CHARS_PER_TOKEN = 16
"""Characters that are tokenized for each token that there is room for: code has three or four a token."""


class ContextFile(NamedTuple):
    """Another file of the project."""

    name: str
    text: str


class InfillCall(msgspec.Struct, frozen=True, kw_only=True):
    """An infill request.

    Attributes:
        prefix, suffix: the texts around the gap.
        middle: the beginning of the text in the gap.
        files: the least important first.
        sampling: the values that the request has, by the names of SamplingParams.
        num_ctx: tokens of context that the caller counts on.
    """

    prefix: str
    suffix: str
    middle: str = ""
    files: Sequence[ContextFile] = ()
    sampling: Mapping[str, Any] = {}
    num_ctx: int | None = None


class InfillReply(NamedTuple):
    """The answer to an infill request.

    Attributes:
        truncated: the prompt has only a part of what the call has.
        deltas: closing them cancels the request.
    """

    info: ModelInfo
    truncated: bool
    deltas: Deltas


async def start_infill(model: ModelHandle, caller: Hashable, call: InfillCall) -> InfillReply:
    """Fit the call into the context. The model generates once the reply is read.

    Raises:
        InvalidRequest: the model cannot infill, or the call is invalid.
        ContextLengthExceeded: `middle` alone is too long.
        EdgeinferError: the model cannot be loaded, or is too busy.
    """
    info = await model.text_model()
    if info.fim is None:
        raise InvalidRequest(f"{info.name} has no fill-in-the-middle tokens", param="model", hint=NEEDS_FIM)
    check_num_ctx(call.num_ctx, info)
    params = resolve_sampling(call.sampling, info, model.recommended_sampling(thinks=True))
    room = _room(info, params.max_tokens)
    async with model.short_jobs.take(caller):
        prompt, truncated = await _prompt(model, caller, info, info.fim, call, room)
    return InfillReply(info, truncated, model.generate(caller, [prompt], params, info=info))


async def _prompt(
    model: ModelHandle, caller: Hashable, info: ModelInfo, fim: FimTokens, call: InfillCall, room: int
) -> tuple[Prompt, bool]:
    """The prompt, and whether something had to be left out of it."""
    check_length(call.middle, info, "prompt")
    files = [extra_file_text(fim, file.name, file.text) for file in call.files]
    texts = [call.prefix, call.suffix, call.middle, *files]
    if surely_fits(texts, room):
        prefix, suffix, middle, *extra = map(untrusted_text, texts)
        return fim_prompt(fim, FimParts(prefix, suffix, middle, extra)), False
    nearest = _nearest(call, files, room * MAX_CHARS_PER_TOKEN)
    tokens = await asyncio.gather(*(_tokens(model, caller, info, text) for text in nearest))
    try:
        parts, truncated = fit_parts(tokens[0], tokens[1], tokens[2], tokens[3:], room)
    except ContextLengthExceeded as e:
        raise context_exceeded(info.ctx, e.message, trained=info.n_ctx_train, param=e.param) from None
    return fim_prompt(fim, parts), truncated or nearest != texts


def _nearest(call: InfillCall, files: list[str], size: int) -> list[str]:
    """The texts nearest to the gap: `size` characters of each side, and of the files. The rest cannot fit."""
    first, left = len(files), size
    while first and len(files[first - 1]) <= left:
        first -= 1
        left -= len(files[first])
    return [call.prefix[-size:], call.suffix[:size], call.middle, *files[first:]]


def _room(info: ModelInfo, max_tokens: int | None) -> int:
    """Tokens for the prompt: what the answer leaves of the context, which is at least three quarters."""
    quarter = info.ctx // 4
    return info.ctx - max(1, quarter if max_tokens is None else min(max_tokens, quarter))


async def _tokens(model: ModelHandle, caller: Hashable, info: ModelInfo, text: str) -> Tokens:
    return await model.tokenize(caller, [Span(text, trusted=False)], info=info)
