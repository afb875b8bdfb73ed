"""Tries grammars with llguidance itself. Nothing else in this package imports it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from llguidance.gbnf_to_lark import gbnf_to_lark

from edgeinfer.grammar.limits import PARSER_LIMITS

__all__ = ["NO_TEXT_MATCHES", "find_dead_end", "gbnf_to_lark", "patterns_overlap", "validation_error"]

NO_TEXT_MATCHES = "no text matches"


class _ByteVocabulary:
    """The 256 bytes and an end token, with which any grammar can be tried."""

    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    eos_token_id = 256
    bos_token_id = None
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


@lru_cache(maxsize=1)
def _tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(_ByteVocabulary()), eos_token=[_ByteVocabulary.eos_token_id])


def _limits() -> LLParserLimits:
    limits: dict[str, Any] = dict(PARSER_LIMITS)
    return LLParserLimits(**limits)


def validation_error(grammars: list[dict[str, Any]]) -> str | None:
    """Return llguidance's reason to reject these grammars, of which the first is the start; None if it accepts them."""
    failed, messages = LLMatcher.validate_grammar_with_warnings(
        json.dumps({"grammars": grammars}, ensure_ascii=False), limits=_limits()
    )
    return str(messages[0]) if failed else None


def find_dead_end(entry: dict[str, Any]) -> str | None:
    """Return why no text of a single grammar can be begun; None if one can."""
    grammars = [{"name": "main", "lark_grammar": f"start: @{entry['name']}"}, entry]
    matcher = LLMatcher(
        _tokenizer(),
        json.dumps({"grammars": grammars}, ensure_ascii=False),
        log_level=0,
        limits=_limits(),
    )
    if not matcher.is_error():
        matcher.compute_bitmask()
        if forced := matcher.compute_ff_tokens():
            matcher.consume_token(forced[0])  # an endless sequence of forced tokens fails only here
    if matcher.is_error():
        return str(matcher.get_error())
    return NO_TEXT_MATCHES if matcher.is_stopped() and not matcher.is_accepting() else None


@lru_cache(maxsize=4096)
def _patterns_overlap(patterns: tuple[str, ...]) -> bool:
    schema = {"type": "object", "patternProperties": dict.fromkeys(patterns, True)}
    return validation_error([{"name": "main", "json_schema": schema}]) is not None


def patterns_overlap(patterns: list[str]) -> bool:
    """Tell if some text matches two of the patterns; True also where llguidance cannot decide it."""
    return _patterns_overlap(tuple(patterns))
