"""Turns a row of logits into new tokens and text: the sampled token, and the tokens that must follow it."""

from __future__ import annotations

import math
from copy import copy
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from edgeinfer.engine.backend import Row, Vocab
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.logprobs import log_probabilities
from edgeinfer.engine.sequence import Sequence
from edgeinfer.engine.structured.completer import GrammarCompleter
from edgeinfer.errors import ConstraintFailed, not_finite
from edgeinfer.inference.output import ChosenLogprob, FinishReason, Logprob, PartialAnswer


class StepOutput(NamedTuple):
    """New tokens of an answer, the text that is now certain, and the reason if the answer ends."""

    tokens: list[int]
    text: str
    finish_reason: FinishReason | None


class OutputProcessor:
    """Extends answers by the output of each step."""

    def __init__(self, vocab: Vocab, config: EngineConfig) -> None:
        self._vocab = vocab
        self._ctx = config.ctx
        self._by_row = config.determinism == "by_row"

    def start(self, sequence: Sequence) -> None:
        """Append the prefix that the grammar forces to the prompt, so that both are computed together."""
        constraint = sequence.constraint
        if constraint and sequence.request.params.logprobs is None:
            sequence.forced_tokens = self._forced_tokens(sequence)
            while sequence.forced_tokens and self._num_left(sequence) > 1 and not self._is_stopped(sequence):
                sequence.forced_prefix += self._push(sequence, sequence.forced_tokens.pop(0))
                sequence.forced_tokens = sequence.forced_tokens or self._forced_tokens(sequence)

    def resume(self, sequence: Sequence, partial: PartialAnswer) -> None:
        """Bring a fresh `sequence` to where another engine left it; no text is sent twice.

        Raises:
            ConstraintFailed: the partial answer breaks the grammar.
        """
        assert partial.timings is not None
        self.start(sequence)
        num_forced = sequence.num_output_tokens
        text, sequence.forced_prefix = sequence.forced_prefix, ""
        for token in partial.tokens[num_forced:]:
            text += self._push(sequence, token)
        if sequence.tokens[sequence.num_prompt_tokens :] != partial.tokens:
            raise ConstraintFailed("the partial answer does not begin as its grammar requires")
        sequence.num_reported = len(partial.tokens)
        sequence.resume(partial.timings, partial.held_state)
        if partial.step_sizes and not self._by_row:
            # Else the same steps make no difference. The first step came after the tokens that had been computed together with the prompt.
            _, *ends = accumulate(partial.step_sizes, initial=sequence.num_prompt_tokens)
            sequence.replay_bounds = [sequence.num_prompt_tokens + num_forced, *ends]
        if sequence.request.params.logprobs is not None:
            held = partial.held_state.logprobs if partial.held_state else []
            sequence.logprobs.replay([self._vocab.piece(t) for t in partial.tokens], text, held)

    def process(self, sequence: Sequence, row: Row) -> StepOutput:
        """Sample from `row`, which is changed, and append the result.

        With log-probabilities each token needs its own row, so forced tokens are left to the next steps.

        Raises:
            ConstraintFailed: the grammar allows no token.
            DecodeFailed: there are logits that are no numbers, from broken weights or a broken GPU.
        """
        if not math.isfinite(row.max()):  # NaN is the maximum of whatever it is among
            raise not_finite("request")
        params, constraint = sequence.request.params, sequence.constraint
        raw = row.copy() if params.logprobs is not None else row
        text, sequence.forced_prefix = sequence.forced_prefix, ""
        if self._is_stopped(sequence):
            return self._output(sequence, text, "stop")
        if not sequence.forced_tokens:
            token = sequence.sampler.sample(row, constraint)
            if not params.ignore_eos and self._vocab.is_end(token):
                return self._output(sequence, text, "stop")
            completion = self._early_completion(sequence, token)
            if completion == []:  # the answer is complete, and could not be after `token`
                return self._output(sequence, text, "length")
            sequence.is_closing = completion is not None
            sequence.forced_tokens = completion or [token]
        while sequence.forced_tokens:
            token = sequence.forced_tokens.pop(0)
            if params.logprobs is not None:
                sequence.logprobs.push(self._logprob(raw, token, params.logprobs))
            text += self._push(sequence, token)
            if self._is_stopped(sequence) or (sequence.is_closing and not sequence.forced_tokens):
                return self._output(sequence, text, "stop")
            if self._num_left(sequence) <= 0:
                return self._output(sequence, text, "length")
            sequence.forced_tokens = sequence.forced_tokens or self._forced_tokens(sequence)
            if params.logprobs is not None:
                break
        return self._output(sequence, text)

    def _output(self, sequence: Sequence, text: str, finish_reason: FinishReason | None = None) -> StepOutput:
        tokens = sequence.tokens[sequence.num_prompt_tokens + sequence.num_reported :]
        sequence.num_reported += len(tokens)
        remaining = sequence.detokenizer.flush() if finish_reason else ""
        return StepOutput(tokens, text + remaining, finish_reason)

    def _is_stopped(self, sequence: Sequence) -> bool:
        """A stop text has been met, or the grammar allows nothing to follow."""
        if sequence.detokenizer.matched_stop is not None:
            return True
        return sequence.constraint is not None and sequence.constraint.stopped

    def _forced_tokens(self, sequence: Sequence) -> list[int]:
        """Tokens that the grammar forces, or that end the thinking when its budget is used up."""
        constraint, thinking = sequence.constraint, sequence.thinking
        if constraint and sequence.request.params.logprobs is None and (forced := constraint.forced_tokens()):
            return forced
        if (
            thinking
            and thinking.exhausted
            and (constraint is None or constraint.allows_all(thinking.closing_tokens))
        ):
            return thinking.close()
        return []

    def _push(self, sequence: Sequence, token: int) -> str:
        piece = self._vocab.piece(token)
        if sequence.constraint:
            sequence.constraint.accept(token)
        if sequence.thinking:
            sequence.thinking.push(piece)
        sequence.sampler.accept(token)
        if sequence.drafter:
            sequence.drafter.push(token)
        if sequence.model_drafter:
            sequence.model_drafter.push(token)
        sequence.tokens.append(token)
        return sequence.detokenizer.push(piece)

    def _num_left(self, sequence: Sequence) -> int:
        """Tokens by which the answer may still grow."""
        left = self._ctx - len(sequence.tokens)
        limit = sequence.request.params.max_tokens
        return left if limit is None else min(left, limit - sequence.num_output_tokens)

    def _early_completion(self, sequence: Sequence, token: int) -> list[int] | None:
        """The tokens that complete the answer, if after `token` it could not be completed within its limit."""
        constraint, thinking, left = sequence.constraint, sequence.thinking, self._num_left(sequence)
        if not (sequence.request.structured.complete and constraint) or left > sequence.next_close_check:
            return None
        next_constraint, next_thinking = constraint.copy(), copy(thinking)
        next_constraint.accept(token)
        if next_thinking:
            next_thinking.push(self._vocab.piece(token))
        after_token = self._completer.complete(next_constraint, next_thinking)
        if after_token is not None and len(after_token) < left:
            # What is opened next may need more tokens than what is open now.
            sequence.next_close_check = left - 1 - max(0, left - 1 - _ample(after_token)) // 2
            return None
        sequence.next_close_check = left - 1 - left // 8
        completion = self._completer.complete(constraint, thinking)
        if completion is None or len(completion) > left:
            return None
        if after_token is None and left > _ample(completion):  # the search failed, but a completion may exist
            return None
        return completion

    @cached_property
    def _completer(self) -> GrammarCompleter:
        return GrammarCompleter(self._vocab)

    def _logprob(self, row: Row, token: int, k: int) -> ChosenLogprob:
        logprob, top = log_probabilities(row, token, k)
        piece = self._vocab.piece
        chosen = Logprob(token, piece(token), logprob)
        return ChosenLogprob(chosen, [Logprob(t, piece(t), p) for t, p in top])


def _ample(completion: list[int]) -> int:
    """Number of tokens left with which an answer with this `completion` need not hurry."""
    return 4 * len(completion) + 32
