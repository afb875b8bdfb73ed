"""Log-probabilities as OpenAI has them: a list of objects in chats, four lists in completions."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

import msgspec

from edgeinfer.inference.output import ChosenLogprob, Logprob
from edgeinfer.server.openai.types import ChatLogprobs, TextLogprobs, TokenLogprob, TopLogprob


def readable(piece: bytes) -> str:
    r"""A token's bytes as text; bytes that are not UTF-8 by themselves become `\xNN`, as in OpenAI's API."""
    return piece.decode("utf-8", "backslashreplace")


def chat_logprobs(logprobs: Sequence[ChosenLogprob]) -> ChatLogprobs:
    """As JSON, token by token: the structs of a long answer would take several times as much memory."""
    tokens: list[Any] = [msgspec.Raw(msgspec.json.encode(_token(logprob))) for logprob in logprobs]
    return ChatLogprobs(tokens)


def _token(logprob: ChosenLogprob) -> TokenLogprob:
    chosen = _top(logprob.chosen)
    return TokenLogprob(chosen.token, chosen.logprob, chosen.bytes, [_top(c) for c in logprob.top])


def _top(candidate: Logprob) -> TopLogprob:
    return TopLogprob(readable(candidate.piece), candidate.logprob, list(candidate.piece))


class TextOffsets:
    """Converts one answer's log-probabilities to the legacy form, part by part.

    `text_offset` counts characters of the choice's own text, through all chunks of a stream.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0

    def convert(self, logprobs: Sequence[ChosenLogprob], top: int) -> TextLogprobs:
        return TextLogprobs(
            tokens=[readable(logprob.chosen.piece) for logprob in logprobs],
            token_logprobs=[logprob.chosen.logprob for logprob in logprobs],
            top_logprobs=[_by_text(logprob) for logprob in logprobs] if top else None,
            text_offset=[self._advance(logprob.chosen.piece) for logprob in logprobs],
        )

    def _advance(self, piece: bytes) -> int:
        offset = self._length
        self._length += len(self._decoder.decode(piece))
        return offset


def _by_text(logprob: ChosenLogprob) -> dict[str, float]:
    """The alternatives and the chosen token, by their texts. Of two tokens with one text, the likelier."""
    by_text: dict[str, float] = {}
    for candidate in (*logprob.top, logprob.chosen):
        by_text.setdefault(readable(candidate.piece), candidate.logprob)
    return by_text
