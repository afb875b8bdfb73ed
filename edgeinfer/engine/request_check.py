"""Refuses requests that the engine cannot answer."""

from __future__ import annotations

from itertools import chain

from edgeinfer.engine.sequence import Request
from edgeinfer.errors import InvalidRequest, context_exceeded


def check_request(request: Request, ctx: int, vocab_size: int, trained_ctx: int) -> None:
    """Check a request for an engine whose sequences hold `ctx` tokens; `trained_ctx` is 0 if unknown.

    Raises:
        ContextLengthExceeded: its prompt, or a partial answer of it, leaves no room for an answer.
        InvalidRequest: it has no prompt, or a token that the vocabulary lacks.
    """
    n = len(request.tokens)
    if not n:
        raise InvalidRequest("the prompt is empty", param="prompt")
    if n >= ctx:
        problem = f"the prompt has {n} tokens, and there must be room for an answer"
        raise context_exceeded(ctx, problem, tokens=n, trained=trained_ctx)
    outputs = [partial.tokens for partial in request.partial_answers if partial]
    if any(n + len(tokens) >= ctx for tokens in outputs):
        longest = max(map(len, outputs))
        problem = f"the prompt has {n} tokens and its unfinished answer up to {longest}"
        raise context_exceeded(ctx, problem, trained=trained_ctx)
    if bad := next((t for t in chain(request.tokens, *outputs) if not 0 <= t < vocab_size), None):
        raise InvalidRequest(f"token {bad} is not in the vocabulary of {vocab_size}", param="prompt")
    if bad := next((t for t in request.params.logit_bias if not 0 <= t < vocab_size), None):
        raise InvalidRequest(f"token {bad} is not in the vocabulary of {vocab_size}", param="logit_bias")
