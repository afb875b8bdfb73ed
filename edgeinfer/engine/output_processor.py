"""What a row of logits adds to an answer: the sampled token, and those that must follow it."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from edgeinfer.engine.backend import Row, Vocab
from edgeinfer.engine.logprobs import log_probabilities
from edgeinfer.engine.sequence import Request, Sequence
from edgeinfer.engine.structured.completer import Closer
from edgeinfer.engine.structured.constraint import Grammars
from edgeinfer.engine.structured.thinking import Thinking
from edgeinfer.engine.structured.tokenizer import Words
from edgeinfer.errors import ConstraintFailed
from edgeinfer.inference.output import ChosenLogprob, FinishReason, Produced, TokenLogprob


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
        budget = request.structured.thinking
        return Thinking(budget, self._words.encode(budget.closing)) if budget else None

    def open(self, sequence: Sequence) -> None:
        """Put the beginning that the grammar forces behind the prompt, to be computed along with it."""
        constraint = sequence.constraint
        if constraint and sequence.request.params.logprobs is None:
            sequence.due = self._following(sequence)
            while sequence.due and self._left(sequence) > 1 and not self._stopped(sequence):
                sequence.opening += self._push(sequence, sequence.due.pop(0))
                sequence.due = sequence.due or self._following(sequence)

    def resume(self, sequence: Sequence, produced: Produced) -> None:
        """Bring a fresh `sequence` to where another engine left it; nothing is sent twice. Raises ConstraintFailed."""
        assert produced.begun is not None
        self.open(sequence)
        opened = sequence.n_produced
        text, sequence.opening = sequence.opening, ""
        for token in produced.tokens[opened:]:
            text += self._push(sequence, token)
        if sequence.tokens[sequence.n_prompt :] != produced.tokens:
            raise ConstraintFailed("the answer so far does not begin as its grammar says")
        sequence.n_told = len(produced.tokens)
        sequence.take_up(produced.begun, produced.pending)
        if produced.runs:  # the first of them was written after what had been computed along with the prompt
            _, *ends = accumulate(produced.runs, initial=sequence.n_prompt)
            sequence.bounds = [sequence.n_prompt + opened, *ends]
        if sequence.request.params.logprobs is not None:
            held = produced.pending.logprobs if produced.pending else []
            sequence.logprobs.replay([self._vocab.piece(t) for t in produced.tokens], text, held)

    def write(self, sequence: Sequence, row: Row) -> Written:
        """Sample from `row`, which is changed. Raises ConstraintFailed.

        With log-probabilities each token has its own row, so what must follow is written in the next steps.
        """
        params, constraint = sequence.request.params, sequence.constraint
        raw = row.copy() if params.logprobs is not None else row
        text, sequence.opening = sequence.opening, ""
        if self._stopped(sequence):
            return self._written(sequence, text, "stop")
        if not sequence.due:
            token = sequence.sampler.sample(row, constraint)
            if not params.ignore_eos and self._vocab.is_end(token):
                return self._written(sequence, text, "stop")
            ending = self._ending(sequence, token)
            if ending == []:  # it is complete, and what would come next could not be
                return self._written(sequence, text, "length")
            sequence.ending = ending is not None
            sequence.due = ending or [token]
        while sequence.due:
            token = sequence.due.pop(0)
            if params.logprobs is not None:
                sequence.logprobs.push(self._logprob(raw, token, params.logprobs))
            text += self._push(sequence, token)
            if self._stopped(sequence) or (sequence.ending and not sequence.due):
                return self._written(sequence, text, "stop")
            if self._left(sequence) <= 0:
                return self._written(sequence, text, "length")
            sequence.due = sequence.due or self._following(sequence)
            if params.logprobs is not None:
                break
        return self._written(sequence, text)

    def _written(self, sequence: Sequence, text: str, reason: FinishReason | None = None) -> Written:
        tokens = sequence.tokens[sequence.n_prompt + sequence.n_told :]
        sequence.n_told += len(tokens)
        return Written(tokens, text + (sequence.text.flush() if reason else ""), reason)

    def _stopped(self, sequence: Sequence) -> bool:
        """A stop text has been met, or the grammar lets nothing follow."""
        return sequence.text.stop is not None or bool(sequence.constraint and sequence.constraint.stopped)

    def _following(self, sequence: Sequence) -> list[int]:
        """What must be written next: what the grammar forces, or what ends a thinking that is long enough."""
        constraint, thinking = sequence.constraint, sequence.thinking
        if constraint and sequence.request.params.logprobs is None and (forced := constraint.forced()):
            return forced
        if thinking and thinking.spent and (constraint is None or constraint.takes(thinking.closing)):
            return thinking.close()
        return []

    def _push(self, sequence: Sequence, token: int) -> str:
        piece = self._vocab.piece(token)
        if sequence.constraint:
            sequence.constraint.accept(token)
        if sequence.thinking:
            sequence.thinking.push(piece)
        sequence.sampler.accept(token)
        sequence.tokens.append(token)
        return sequence.text.push(piece)

    def _left(self, sequence: Sequence) -> int:
        """Tokens that the answer may still have."""
        left = self._ctx - len(sequence.tokens)
        limit = sequence.request.params.max_tokens
        return left if limit is None else min(left, limit - sequence.n_produced)

    def _ending(self, sequence: Sequence, token: int) -> list[int] | None:
        """Instead of `token`: the rest of the answer, if after `token` it could no longer end within its limit."""
        constraint, thinking, left = sequence.constraint, sequence.thinking, self._left(sequence)
        if not (sequence.request.structured.complete and constraint) or left > sequence.look_at:
            return None
        after, thought = constraint.copy(), copy(thinking)
        after.accept(token)
        if thought:
            thought.push(self._vocab.piece(token))
        needed = self._closer.close(after, thought)
        if needed is not None and len(needed) < left:
            # What is opened next may need more than what is open now.
            sequence.look_at = left - 1 - max(0, left - 1 - _ample(needed)) // 2
            return None
        sequence.look_at = left - 1 - left // 8
        ending = self._closer.close(constraint, thinking)
        if ending is None or len(ending) > left:
            return None
        if needed is None and left > _ample(ending):  # none was found; there may be one
            return None
        return ending

    @cached_property
    def _closer(self) -> Closer:
        return Closer(self._vocab)

    def _logprob(self, row: Row, token: int, k: int) -> ChosenLogprob:
        logprob, top = log_probabilities(row, token, k)
        piece = self._vocab.piece
        chosen = TokenLogprob(token, piece(token), logprob)
        return ChosenLogprob(chosen, [TokenLogprob(t, piece(t), p) for t, p in top])


def _ample(ending: list[int]) -> int:
    """With so many tokens left, an answer that could have this end need not hurry."""
    return 4 * len(ending) + 32
