"""What a row of logits adds to an answer: the sampled token, and those that must follow it."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

from edgeinfer.engine.backend import Row, Vocab
from edgeinfer.engine.completion import Closer
from edgeinfer.engine.constraint import Constraint, Grammars
from edgeinfer.engine.logprobs import log_probabilities
from edgeinfer.engine.output import ChosenLogprob, FinishReason, TokenLogprob
from edgeinfer.engine.sequence import Request, Sequence
from edgeinfer.engine.thinking import Thinking
from edgeinfer.engine.words import Words

LONGEST_END = 1024
"""Tokens that are tried to bring an answer to its end."""


class Written(NamedTuple):
    """Tokens new in the answer, the text that is now certain, and why the answer ends, if it does."""

    tokens: list[int]
    text: str
    reason: FinishReason | None


class Writer:
    """Writes answers on. `ctx` is what a sequence may hold."""

    def __init__(self, vocab: Vocab, ctx: int) -> None:
        self._vocab = vocab
        self._ctx = ctx
        self._words = Words(vocab)
        self.grammars = Grammars(self._words)

    def thinking(self, request: Request) -> Thinking | None:
        budget = request.guidance.thinking
        return Thinking(budget, self._words.encode(budget.closing)) if budget else None

    def open(self, sequence: Sequence) -> None:
        """Put the beginning that the grammar forces behind the prompt, to be computed along with it."""
        constraint = sequence.constraint
        if constraint and sequence.request.params.logprobs is None:
            for token in constraint.forced()[: self._left(sequence) - 1]:
                sequence.opening += self._push(sequence, token)
                self._follow(sequence, token)

    def write(self, sequence: Sequence, row: Row) -> Written:
        """Sample from `row`, which is changed. Raises ConstraintFailed."""
        params, constraint = sequence.request.params, sequence.constraint
        raw = row.copy() if params.logprobs is not None else row
        token = sequence.sampler.sample(row, constraint)
        text, sequence.opening = sequence.opening, ""
        if not params.ignore_eos and self._vocab.is_end(token):
            return self._written(sequence, text, "stop")
        if params.logprobs is not None:
            sequence.logprobs.push(self._logprob(raw, token, params.logprobs))
        run = self._ending(sequence, token) or [token]
        while run:
            token = run.pop(0)
            text += self._push(sequence, token)
            if sequence.text.stop is not None or (constraint and constraint.stopped):
                return self._written(sequence, text, "stop")
            if self._left(sequence) <= 0:
                return self._written(sequence, text, "length")
            run = self._follow(sequence, token) or run
            if constraint and not run and params.logprobs is None:
                run = constraint.forced()
        return self._written(sequence, text)

    def _written(self, sequence: Sequence, text: str, reason: FinishReason | None = None) -> Written:
        tokens = sequence.tokens[sequence.n_prompt + sequence.n_told :]
        sequence.n_told += len(tokens)
        return Written(tokens, text + (sequence.text.flush() if reason else ""), reason)

    def _follow(self, sequence: Sequence, token: int) -> list[int]:
        """`token` was written; -> what must follow, if it was the thinking's last."""
        thinking = sequence.thinking
        return list(thinking.closing) if thinking and thinking.push(self._vocab.piece(token)) else []

    def _push(self, sequence: Sequence, token: int) -> str:
        if sequence.constraint:
            sequence.constraint.accept(token)
        sequence.sampler.accept(token)
        sequence.tokens.append(token)
        return sequence.text.push(self._vocab.piece(token))

    def _left(self, sequence: Sequence) -> int:
        """Tokens that the answer may still have."""
        left = self._ctx - len(sequence.tokens)
        limit = sequence.request.params.max_tokens
        return left if limit is None else min(left, limit - sequence.n_produced)

    def _ending(self, sequence: Sequence, token: int) -> list[int] | None:
        """Instead of `token`: the rest of the answer, if after `token` it could no longer end within its limit."""
        constraint, left = sequence.constraint, self._left(sequence)
        if not (sequence.request.guidance.complete and constraint) or left > sequence.look_at:
            return None
        after = constraint.copy()
        after.accept(token)
        needed = self._needed(after, sequence, left - 1)
        if needed is None:
            sequence.look_at = left - 1 - left // 8
            return self._needed(constraint, sequence, left)
        spare = left - 1 - 4 * len(needed) - 32  # what is opened next may need more than what is open now
        sequence.look_at = left - 1 - max(0, spare // 2)
        return None

    def _needed(self, constraint: Constraint, sequence: Sequence, limit: int) -> list[int] | None:
        thinking = sequence.thinking
        closing = thinking.closing if thinking and thinking.active else []
        return self._closer.close(constraint, closing, min(limit, LONGEST_END))

    @cached_property
    def _closer(self) -> Closer:
        return Closer(self._vocab)

    def _logprob(self, row: Row, token: int, k: int) -> ChosenLogprob:
        logprob, top = log_probabilities(row, token, k)
        piece = self._vocab.piece
        chosen = TokenLogprob(token, piece(token), logprob)
        return ChosenLogprob(chosen, [TokenLogprob(t, piece(t), p) for t, p in top])
