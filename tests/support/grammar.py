"""Compiles schemas in this process, and plays a model that writes anything a grammar allows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper

from edgeinfer.grammar.limits import PARSER_LIMITS
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource
from edgeinfer.grammar.to_llguidance import to_llguidance

PIECES = (
    '", "', '": "', '": ', '"}', '"]', "[]", "{}", "true", "false", "null", ", ", "the", "in", "er", "12", "00",
    "20", "http", "://", ".com", "name", "id", "type", "\\n", '\\"', "é", "日", "0.", "e1",
)  # fmt: skip


class Vocabulary:
    """The bytes, some longer pieces, and an end token."""

    tokens = (*(bytes([byte]) for byte in range(256)), *(piece.encode() for piece in PIECES), b"<end>")
    eos_token_id = len(tokens) - 1
    bos_token_id = None
    special_token_ids = (eos_token_id,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


TOKENIZER = LLTokenizer(TokenizerWrapper(Vocabulary()), eos_token=[Vocabulary.eos_token_id])
IS_CLOSING = np.array(
    [
        piece in (b'"', b"}", b"]", b'"}', b'"]', b"[]", b"{}", b"null", b"<end>")
        for piece in Vocabulary.tokens
    ]
)


def schema_source(schema: Any) -> GrammarSource:
    """A schema as a source named s0, as it travels to the grammar process."""
    return GrammarSource("s0", "json_schema", json.dumps(schema), "schema")


def compile_schema(schema: Any) -> CompiledGrammar:
    """Compile the grammar of answers that a schema allows."""
    return to_llguidance(Grammar("start: @s0", (schema_source(schema),)))


def matcher(text: str) -> LLMatcher:
    """Start matching a compiled grammar."""
    limits: dict[str, Any] = dict(PARSER_LIMITS)
    return LLMatcher(TOKENIZER, text, log_level=0, limits=LLParserLimits(**limits))


def accepts(text: str, answer: str) -> bool:
    """Tell if a compiled grammar allows this answer."""
    state = matcher(text)
    assert not state.is_error(), state.get_error()
    tokens = list(answer.encode())
    return bool(state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting())


def sample(text: str, seed: int, length: int = 200) -> str | None:
    """Write a random answer under a compiled grammar; None if it does not end within several times `length` tokens."""
    random = np.random.default_rng(seed)
    preference = np.exp(1.5 * random.normal(size=len(Vocabulary.tokens)))
    preference[128:256] *= 0.02
    urgency = random.random() / 4
    state = matcher(text)
    answer = b""
    for step in range(5 * length):
        if state.is_stopped():
            break
        mask = np.frombuffer(state.compute_bitmask(), np.uint8)
        allowed = np.unpackbits(mask, bitorder="little")[: len(preference)]
        weights = preference * allowed * np.exp(IS_CLOSING * min(20 * step / length, 30) * urgency)
        assert weights.any(), (state.get_error(), answer)
        token = int(random.choice(len(weights), p=weights / weights.sum()))
        if token == Vocabulary.eos_token_id:
            return answer.decode()
        assert state.consume_token(token), state.get_error()
        answer += Vocabulary.tokens[token]
    assert not state.is_error(), state.get_error()
    return answer.decode() if state.is_accepting() else None
