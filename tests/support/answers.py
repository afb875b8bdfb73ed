"""Random answers that a grammar allows, written by llguidance itself, and the events a parser makes of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from edgeinfer.chat.events import CallBegin, Event
from edgeinfer.chat.reply import ReplyParser
from edgeinfer.chat.tools.detect import MARKERS
from edgeinfer.grammar.source import Grammar

EOS = 256
STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
TEXT = frozenset(b'abc {}[]()",:=\\\n<>/0123')
ENDS = frozenset(b'"}])</\n,')


class ByteTokenizer:
    """The bytes, an end token, and one token for each marker of the tool formats."""

    eos_token_id = EOS
    bos_token_id = None
    special_token_ids = (EOS,)

    def __init__(self) -> None:
        markers = (marker.encode() for marker in MARKERS)
        self.tokens = [*(bytes([n]) for n in range(256)), b"<|end|>", *markers]

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


TOKENIZER = ByteTokenizer()
VOCABULARY = LLTokenizer(TokenizerWrapper(TOKENIZER), eos_token=[EOS])


def matcher(grammar: Grammar) -> LLMatcher:
    """Start matching a grammar whose schemas llguidance takes as they are."""
    grammars: list[dict[str, Any]] = [{"name": "main", "lark_grammar": grammar.lark}]
    for source in grammar.sources:
        schema = source.content if isinstance(source.content, dict) else {}
        grammars.append({"name": source.name, "json_schema": {**schema, "x-guidance": STYLE}})
    state = LLMatcher(VOCABULARY, json.dumps({"grammars": grammars}))
    assert not state.is_error(), state.get_error()
    return state


def accepts(grammar: Grammar, text: str) -> bool:
    """Tell if the whole text is an answer."""
    state = matcher(grammar)
    tokens = TOKENIZER(text)
    return (
        state.validate_tokens(tokens) == len(tokens) and state.consume_tokens(tokens) and state.is_accepting()
    )


def random_answer(
    grammar: Grammar, random_source: random.Random, begin: str = "", limit: int = 400
) -> tuple[str, bool]:
    """Write an answer that starts with `begin`; also tell if it came to its end within the limit."""
    state = matcher(grammar)
    answer = begin.encode()
    assert state.consume_tokens(TOKENIZER(begin)), state.get_error()
    for n in range(limit):
        forced = state.compute_ff_tokens()
        token = forced[0] if forced else _choose(state.compute_bitmask(), random_source, n)
        if token == EOS or not state.consume_token(token):
            assert token == EOS, state.get_error()
            return answer.decode(), True
        answer += TOKENIZER.tokens[token]
        if state.is_stopped():
            return answer.decode(), True
    return answer.decode(errors="ignore"), False


def _choose(mask: bytes, random_source: random.Random, n: int) -> int:
    """Choose an allowed token; the later the step, the likelier it is one that ends something."""
    allowed = [t for t in range(len(TOKENIZER.tokens)) if mask[t // 8] >> (t % 8) & 1]
    if EOS in allowed and random_source.random() < 0.2:
        return EOS
    closing = [t for t in allowed if t > EOS or t in ENDS]
    if closing and random_source.random() < 0.2 + n / 200:
        return random_source.choice(closing)
    return random_source.choice([t for t in allowed if t in TEXT] or allowed)


def parse_pieces(parser: ReplyParser, pieces: Iterable[str]) -> list[list[str]]:
    """Feed pieces of an answer to a parser; return its events without ids, neighbours of one kind merged."""
    events: list[Event] = []
    for piece in pieces:
        events += parser.feed(piece)
    events += parser.finish()
    merged: list[list[str]] = []
    for event in events:
        kind = type(event).__name__
        if isinstance(event, CallBegin):
            merged.append([kind, event.name])
        elif merged and merged[-1][0] == kind:
            merged[-1][1] += event.text
        else:
            merged.append([kind, event.text])
    return merged


def calls_in(events: list[list[str]]) -> list[tuple[str, Any]]:
    """Return the calls among merged events: their names and parsed arguments."""
    begins = [n for n, (kind, _) in enumerate(events) if kind == "CallBegin"]
    return [(events[n][1], json.loads(events[n + 1][1])) for n in begins]
