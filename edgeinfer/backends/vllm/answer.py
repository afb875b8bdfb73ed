"""One answer as vLLM's tokens make it: its text, where it ends, and what is needed to continue it in another process."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from edgeinfer.engine.detokenizer import IncrementalDetokenizer
from edgeinfer.engine.logprob_buffer import LogprobBuffer
from edgeinfer.errors import DecodeFailed
from edgeinfer.inference.output import ChosenLogprob, FinishReason, Logprob
from edgeinfer.safetensors.vocabulary import Vocabulary

TOKEN_ID = "token_id:"

UNLIKELY = -9999.0
"""vLLM's log-probability of a token that is impossible."""


class VllmLogprobs(msgspec.Struct):
    """vLLM's log-probabilities of the tokens of one chunk; tokens are written as "token_id:N"."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class VllmChoice(msgspec.Struct):
    """What one chunk adds to an answer."""

    index: int = 0
    token_ids: list[int] | None = None
    logprobs: VllmLogprobs | None = None
    finish_reason: str | None = None


class Addition(msgspec.Struct, frozen=True):
    """What a chunk's tokens add to an answer."""

    text: str = ""
    tokens: list[int] = []
    logprobs: list[ChosenLogprob] | None = None


class VllmAnswer:
    """Tokens so far, and the text that is certain.

    Attributes:
        tokens: all that were computed, without the one that ended it.
        text: all that was sent.
        finished: it has ended, for `reason`.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        ends: frozenset[int],
        markers: Collection[str],
        stops: Sequence[str],
        logprobs: int | None,
    ) -> None:
        """`ends`: tokens that end it; `markers`: control tokens to be shown as text."""
        self.tokens: list[int] = []
        self.text = ""
        self.finished = False
        self.reason: FinishReason = "stop"
        self._vocabulary = vocabulary
        self._ends = ends
        hidden = vocabulary.special.difference(markers)
        self._hidden = {id for text, id in vocabulary.added.items() if text in hidden}
        self._detokenizer = IncrementalDetokenizer(stops)
        self._num_top = logprobs
        self._logprobs = LogprobBuffer()
        self._replayed: list[int] = []

    @property
    def matched_stop(self) -> str | None:
        """The stop text that ended it."""
        return self._detokenizer.matched_stop

    @property
    def was_cut(self) -> bool:
        """It has as many tokens as were asked for."""
        return self.finished and self.reason == "length"

    def replay(self) -> None:
        """The tokens so far are computed once more, so that the grammar is where it was."""
        self._replayed = list(self.tokens)

    def add(self, choice: VllmChoice) -> Addition:
        """Take a chunk; -> what is new in it.

        Raises:
            DecodeFailed: tokens that should be the same again are not.
        """
        tokens, text = list[int](), ""
        for at, token in enumerate(choice.token_ids or ()):
            if self._replayed:
                self._expect(token)
                continue
            if token in self._ends:
                break
            tokens.append(token)
            piece = self._piece(token)
            if self._num_top is not None and choice.logprobs:
                self._logprobs.push(self._logprob(choice.logprobs, at, token, piece))
            text += self._detokenizer.push(piece)
            if self.matched_stop is not None:
                self.end("stop")
                break
        if choice.finish_reason and not self.finished:
            self.end("length" if choice.finish_reason == "length" else "stop")
            text += self._detokenizer.flush()
        return self._addition(tokens, text)

    def end(self, reason: FinishReason) -> None:
        self.finished, self.reason = True, reason

    def reopen(self) -> None:
        """It goes on although a chunk has said that it ends."""
        self.finished = False

    def add_forced(self, tokens: Sequence[int]) -> Addition:
        """Add tokens that were not computed."""
        return self._addition(
            list(tokens), "".join(self._detokenizer.push(self._piece(token)) for token in tokens)
        )

    def _addition(self, tokens: list[int], text: str) -> Addition:
        self.tokens += tokens
        self.text += text
        logprobs = None
        if self._num_top is not None:
            logprobs = self._logprobs.release(text)
            if self.finished and self.matched_stop is None:
                logprobs += self._logprobs.flush()
        return Addition(text, tokens, logprobs)

    def _expect(self, token: int) -> None:
        if self._replayed.pop(0) != token:
            raise DecodeFailed(
                "the model's process was restarted, and this answer could not be continued word for word",
                hint="send the request again",
            )

    def _piece(self, token: int) -> bytes:
        """The bytes of a token in an answer: control tokens have none."""
        return b"" if token in self._hidden else self._vocabulary.piece(token)

    def _logprob(self, logprobs: VllmLogprobs, at: int, token: int, piece: bytes) -> ChosenLogprob:
        value = logprobs.token_logprobs[at]
        candidates = (logprobs.top_logprobs or [None] * (at + 1))[at] or {}
        top = [
            Logprob(id, self._vocabulary.piece(id), likelihood)
            for id, likelihood in ((int(name.removeprefix(TOKEN_ID)), v) for name, v in candidates.items())
        ]
        top.sort(key=lambda candidate: -candidate.logprob)
        chosen = Logprob(token, piece, UNLIKELY if value is None else value)
        return ChosenLogprob(chosen, top[: self._num_top])
