"""A model that says anything a grammar lets it, for tests of grammars."""

from __future__ import annotations

from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from edgeinfer.grammar.limits import PARSER_LIMITS

PIECES = (
    '", "', '": "', '": ', '"}', '"]', "[]", "{}", "true", "false", "null", ", ", "the", "in", "er", "12", "00",
    "20", "http", "://", ".com", "name", "id", "type", "\\n", '\\"', "é", "日", "0.", "e1",
)  # fmt: skip


class Vocabulary:
    """The bytes, some longer pieces, and an end."""

    tokens = (*(bytes([byte]) for byte in range(256)), *(piece.encode() for piece in PIECES), b"<end>")
    eos_token_id = len(tokens) - 1
    bos_token_id = None
    special_token_ids = (eos_token_id,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


TOKENIZER = LLTokenizer(TokenizerWrapper(Vocabulary()), eos_token=[Vocabulary.eos_token_id])
CLOSING = np.array(
    [
        piece in (b'"', b"}", b"]", b'"}', b'"]', b"[]", b"{}", b"null", b"<end>")
        for piece in Vocabulary.tokens
    ]
)


def matcher(text: str) -> LLMatcher:
    limits: dict[str, Any] = dict(PARSER_LIMITS)
    return LLMatcher(TOKENIZER, text, log_level=0, limits=LLParserLimits(**limits))


def accepts(text: str, answer: str) -> bool:
    """A grammar allows this answer."""
    state = matcher(text)
    assert not state.is_error(), state.get_error()
    tokens = list(answer.encode())
    return bool(state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting())


def sample(text: str, seed: int, length: int = 200) -> str | None:
    """A random answer under a grammar; None if it does not come to an end in several times `length` tokens."""
    random = np.random.default_rng(seed)
    taste = np.exp(1.5 * random.normal(size=len(Vocabulary.tokens)))
    taste[128:256] *= 0.02
    hurry = random.random() / 4
    state = matcher(text)
    answer = b""
    for step in range(5 * length):
        if state.is_stopped():
            break
        mask = np.frombuffer(state.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(mask, bitorder="little")[: len(taste)]
        weights = taste * allowed * np.exp(CLOSING * min(20 * step / length, 30) * hurry)
        assert weights.any(), (state.get_error(), answer)
        token = int(random.choice(len(weights), p=weights / weights.sum()))
        if token == Vocabulary.eos_token_id:
            return answer.decode()
        assert state.consume_token(token), state.get_error()
        answer += Vocabulary.tokens[token]
    assert not state.is_error(), state.get_error()
    return answer.decode() if state.is_accepting() else None
