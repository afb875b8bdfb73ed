"""Log-probabilities in OpenAI's two forms: the chat's list of objects, the completions' four lists."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from edgeinfer.inference.output import ChosenLogprob, Logprob
from edgeinfer.server.openai.types import ChatLogprobs, TextLogprobs, TokenLogprob, TopLogprob


def readable(piece: bytes) -> str:
    r"""A token's bytes as text; bytes that are no UTF-8 on their own as `\xNN`, as OpenAI writes them."""
    return piece.decode("utf-8", "backslashreplace")


def chat_logprobs(found: Sequence[ChosenLogprob]) -> ChatLogprobs:
    return ChatLogprobs([_token(one) for one in found])


def _token(one: ChosenLogprob) -> TokenLogprob:
    chosen = _top(one.chosen)
    return TokenLogprob(chosen.token, chosen.logprob, chosen.bytes, [_top(c) for c in one.top])


def _top(candidate: Logprob) -> TopLogprob:
    return TopLogprob(readable(candidate.piece), candidate.logprob, list(candidate.piece))


class TextOffsets:
    """Turns one answer's log-probabilities into the legacy form, piece by piece.

    `text_offset` counts characters of the choice's own text, through all chunks of a stream.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._length = 0

    def convert(self, found: Sequence[ChosenLogprob], top: int) -> TextLogprobs:
        return TextLogprobs(
            tokens=[readable(one.chosen.piece) for one in found],
            token_logprobs=[one.chosen.logprob for one in found],
            top_logprobs=[_by_text(one) for one in found] if top else None,
            text_offset=[self._advance(one.chosen.piece) for one in found],
        )

    def _advance(self, piece: bytes) -> int:
        offset = self._length
        self._length += len(self._decoder.decode(piece))
        return offset


def _by_text(one: ChosenLogprob) -> dict[str, float]:
    """The likeliest, and the chosen one among them or added. Of two tokens with one text, the likelier."""
    found: dict[str, float] = {}
    for candidate in (*one.top, one.chosen):
        found.setdefault(readable(candidate.piece), candidate.logprob)
    return found
