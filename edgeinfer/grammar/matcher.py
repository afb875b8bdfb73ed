"""llguidance's judgement on grammars. With `check`, the only importer of a library."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from llguidance.gbnf_to_lark import gbnf_to_lark

from edgeinfer.grammar.limits import LIMITS

__all__ = ["gbnf_to_lark", "overlap", "refusal", "stuck"]


class _Bytes:
    """A vocabulary of the 256 bytes and an end, which any grammar can be tried with."""

    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    eos_token_id = 256
    bos_token_id = None
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


@lru_cache(maxsize=1)
def _tokenizer() -> LLTokenizer:
    return LLTokenizer(TokenizerWrapper(_Bytes()), eos_token=[_Bytes.eos_token_id])


def _limits() -> LLParserLimits:
    limits: dict[str, Any] = dict(LIMITS)
    return LLParserLimits(**limits)


def refusal(grammars: list[dict[str, Any]]) -> str | None:
    """Why llguidance refuses a grammar, the first of which is its start; None where it does not."""
    failed, messages = LLMatcher.validate_grammar_with_warnings(
        json.dumps({"grammars": grammars}, ensure_ascii=False), limits=_limits()
    )
    return str(messages[0]) if failed else None


def stuck(piece: dict[str, Any]) -> str | None:
    """Why no text of a single grammar can be begun; None where one can."""
    grammars = [{"name": "main", "lark_grammar": f"start: @{piece['name']}"}, piece]
    matcher = LLMatcher(
        _tokenizer(),
        json.dumps({"grammars": grammars}, ensure_ascii=False),
        log_level=0,
        limits=_limits(),
    )
    if not matcher.is_error():
        matcher.compute_bitmask()
        if forced := matcher.compute_ff_tokens():
            matcher.consume_token(forced[0])  # what is forced without end fails only now
    if matcher.is_error():
        return str(matcher.get_error())
    return "nothing can match it" if matcher.is_stopped() and not matcher.is_accepting() else None


@lru_cache(maxsize=4096)
def _overlap(patterns: tuple[str, ...]) -> bool:
    schema = {"type": "object", "patternProperties": dict.fromkeys(patterns, True)}
    return refusal([{"name": "main", "json_schema": schema}]) is not None


def overlap(patterns: list[str]) -> bool:
    """Some text may match two of the patterns, or that cannot be told."""
    return _overlap(tuple(patterns))
