"""Bounds what all answers to one request take in memory while they are put together."""

from __future__ import annotations

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo

MAX_ANSWER_BYTES = 48 << 20
"""Bytes that the answers to one request may take."""

TOKEN_BYTES, LOGPROB_BYTES = 64, 300
"""What a token takes, and each log-probability, until the answer is sent."""


def check_answer_size(params: SamplingParams, answers: int, info: ModelInfo) -> None:
    """Raises InvalidRequest if so many answers of this length could take too much memory together."""
    tokens = min(params.max_tokens or info.ctx, info.ctx)
    logprobs = 0 if params.logprobs is None else 1 + params.logprobs
    size = TOKEN_BYTES + logprobs * LOGPROB_BYTES
    if (answers == 1 and not logprobs) or answers * tokens * size <= MAX_ANSWER_BYTES:
        return
    most = MAX_ANSWER_BYTES // (answers * size)
    what = f"{answers} answers" if answers > 1 else "an answer"
    having = f" with {logprobs} log-probabilities for each token" if logprobs else ""
    raise InvalidRequest(
        f"{what} of up to {tokens} tokens{having} would take too much memory",
        param="max_tokens",
        hint=f"set max_tokens to at most {most}, or ask for less at once" if most else "ask for less at once",
    )


def check_vectors_size(count: int, size: int) -> None:
    """Raises InvalidRequest if so many vectors of `size` bytes take too much memory together."""
    most = MAX_ANSWER_BYTES // size
    if count > most:
        raise InvalidRequest(
            f"the vectors of {count} inputs would take too much memory",
            param="input",
            hint=f"send at most {most} inputs at once, or ask for base64 or fewer dimensions",
        )
