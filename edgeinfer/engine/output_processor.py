"""What a row of logits adds to an answer: the sampled token, and those that must follow it."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from edgeinfer.engine.backend import Row, Vocab
from edgeinfer.engine.logprobs import log_probabilities
from edgeinfer.engine.sequence import Request, Sequence
from edgeinfer.engine.structured.completer import GrammarCompleter
from edgeinfer.engine.structured.constraint import ConstraintCompiler
from edgeinfer.engine.structured.thinking import ThinkingTracker
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import ConstraintFailed
from edgeinfer.inference.output import ChosenLogprob, FinishReason, Logprob, PartialAnswer


class StepOutput(NamedTuple):
    """Tokens new in the answer, the text that is now certain, and why the answer ends, if it does."""

    tokens: list[int]
    text: str
    reason: FinishReason | None


class OutputProcessor:
    """Writes answers on. `ctx` is what a sequence may hold."""

    def __init__(self, vocab: Vocab, ctx: int) -> None:
        self._vocab = vocab
        self._ctx = ctx
        self._words = TextTokenizer(vocab)
        self.grammars = ConstraintCompiler(self._words)

    def thinking(self, request: Request) -> ThinkingTracker | None:
        budget = request.structured.thinking
        return ThinkingTracker(budget, self._words.encode(budget.closing)) if budget else None

    def open(self, sequence: Sequence) -> None:
        """Put the beginning that the grammar forces behind the prompt, to be computed along with it."""
        constraint = sequence.constraint
        if constraint and sequence.request.params.logprobs is None:
            sequence.forced_tokens = self._following(sequence)
            while sequence.forced_tokens and self._left(sequence) > 1 and not self._stopped(sequence):
                sequence.forced_prefix += self._push(sequence, sequence.forced_tokens.pop(0))
                sequence.forced_tokens = sequence.forced_tokens or self._following(sequence)

    def resume(self, sequence: Sequence, partial: PartialAnswer) -> None:
        """Bring a fresh `sequence` to where another engine left it; nothing is sent twice. Raises ConstraintFailed."""
        assert partial.timings is not None
        self.open(sequence)
        opened = sequence.num_output_tokens
        text, sequence.forced_prefix = sequence.forced_prefix, ""
        for token in partial.tokens[opened:]:
            text += self._push(sequence, token)
        if sequence.tokens[sequence.num_prompt_tokens :] != partial.tokens:
            raise ConstraintFailed("the answer so far does not begin as its grammar says")
        sequence.num_reported = len(partial.tokens)
        sequence.resume(partial.timings, partial.held_state)
        if partial.step_sizes:
            # The first step came after what had been computed along with the prompt.
            _, *ends = accumulate(partial.step_sizes, initial=sequence.num_prompt_tokens)
            sequence.replay_bounds = [sequence.num_prompt_tokens + opened, *ends]
        if sequence.request.params.logprobs is not None:
            held = partial.held_state.logprobs if partial.held_state else []
            sequence.logprobs.replay([self._vocab.piece(t) for t in partial.tokens], text, held)

    def write(self, sequence: Sequence, row: Row) -> StepOutput:
        """Sample from `row`, which is changed. Raises ConstraintFailed.

        With log-probabilities each token has its own row, so what must follow is written in the next steps.
        """
        params, constraint = sequence.request.params, sequence.constraint
        raw = row.copy() if params.logprobs is not None else row
        text, sequence.forced_prefix = sequence.forced_prefix, ""
        if self._stopped(sequence):
            return self._written(sequence, text, "stop")
        if not sequence.forced_tokens:
            token = sequence.sampler.sample(row, constraint)
            if not params.ignore_eos and self._vocab.is_end(token):
                return self._written(sequence, text, "stop")
            ending = self._ending(sequence, token)
            if ending == []:  # it is complete, and what would come next could not be
                return self._written(sequence, text, "length")
            sequence.is_closing = ending is not None
            sequence.forced_tokens = ending or [token]
        while sequence.forced_tokens:
            token = sequence.forced_tokens.pop(0)
            if params.logprobs is not None:
                sequence.logprobs.push(self._logprob(raw, token, params.logprobs))
            text += self._push(sequence, token)
            if self._stopped(sequence) or (sequence.is_closing and not sequence.forced_tokens):
                return self._written(sequence, text, "stop")
            if self._left(sequence) <= 0:
                return self._written(sequence, text, "length")
            sequence.forced_tokens = sequence.forced_tokens or self._following(sequence)
            if params.logprobs is not None:
                break
        return self._written(sequence, text)

    def _written(self, sequence: Sequence, text: str, reason: FinishReason | None = None) -> StepOutput:
        tokens = sequence.tokens[sequence.num_prompt_tokens + sequence.num_reported :]
        sequence.num_reported += len(tokens)
        return StepOutput(tokens, text + (sequence.text.flush() if reason else ""), reason)

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
        return left if limit is None else min(left, limit - sequence.num_output_tokens)

    def _ending(self, sequence: Sequence, token: int) -> list[int] | None:
        """Instead of `token`: the rest of the answer, if after `token` it could no longer end within its limit."""
        constraint, thinking, left = sequence.constraint, sequence.thinking, self._left(sequence)
        if not (sequence.request.structured.complete and constraint) or left > sequence.next_close_check:
            return None
        after, thought = constraint.copy(), copy(thinking)
        after.accept(token)
        if thought:
            thought.push(self._vocab.piece(token))
        needed = self._closer.close(after, thought)
        if needed is not None and len(needed) < left:
            # What is opened next may need more than what is open now.
            sequence.next_close_check = left - 1 - max(0, left - 1 - _ample(needed)) // 2
            return None
        sequence.next_close_check = left - 1 - left // 8
        ending = self._closer.close(constraint, thinking)
        if ending is None or len(ending) > left:
            return None
        if needed is None and left > _ample(ending):  # none was found; there may be one
            return None
        return ending

    @cached_property
    def _closer(self) -> GrammarCompleter:
        return GrammarCompleter(self._vocab)

    def _logprob(self, row: Row, token: int, k: int) -> ChosenLogprob:
        logprob, top = log_probabilities(row, token, k)
        piece = self._vocab.piece
        chosen = Logprob(token, piece(token), logprob)
        return ChosenLogprob(chosen, [Logprob(t, piece(t), p) for t, p in top])


def _ample(ending: list[int]) -> int:
    """With so many tokens left, an answer that could have this end need not hurry."""
    return 4 * len(ending) + 32
