"""Random answers in a grammar's language, by llguidance itself, and what a parser hears in them."""

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
    """Bytes, an end, and the markers of all formats as tokens of their own."""

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
    grammars: list[dict[str, Any]] = [{"name": "main", "lark_grammar": grammar.lark}]
    for source in grammar.sources:
        schema = source.content if isinstance(source.content, dict) else {}
        grammars.append({"name": source.name, "json_schema": {**schema, "x-guidance": STYLE}})
    found = LLMatcher(VOCABULARY, json.dumps({"grammars": grammars}))
    assert not found.is_error(), found.get_error()
    return found


def accepts(grammar: Grammar, text: str) -> bool:
    """Whether the whole text is an answer."""
    found = matcher(grammar)
    tokens = TOKENIZER(text)
    return (
        found.validate_tokens(tokens) == len(tokens) and found.consume_tokens(tokens) and found.is_accepting()
    )


def random_answer(
    grammar: Grammar, chance: random.Random, begin: str = "", limit: int = 400
) -> tuple[str, bool]:
    """An answer that begins so, and whether it came to its end within the limit."""
    found = matcher(grammar)
    said = begin.encode()
    assert found.consume_tokens(TOKENIZER(begin)), found.get_error()
    for n in range(limit):
        forced = found.compute_ff_tokens()
        token = forced[0] if forced else _choose(found.compute_bitmask(), chance, n)
        if token == EOS or not found.consume_token(token):
            assert token == EOS, found.get_error()
            return said.decode(), True
        said += TOKENIZER.tokens[token]
        if found.is_stopped():
            return said.decode(), True
    return said.decode(errors="ignore"), False


def _choose(mask: bytes, chance: random.Random, n: int) -> int:
    """Any allowed token, with a liking for those that end something; more of it as time goes by."""
    allowed = [t for t in range(len(TOKENIZER.tokens)) if mask[t // 8] >> (t % 8) & 1]
    if EOS in allowed and chance.random() < 0.2:
        return EOS
    wanted = [t for t in allowed if t > EOS or t in ENDS]
    if wanted and chance.random() < 0.2 + n / 200:
        return chance.choice(wanted)
    return chance.choice([t for t in allowed if t in TEXT] or allowed)


def heard(parser: ReplyParser, pieces: Iterable[str]) -> list[list[str]]:
    """What a parser says, neighbours of one kind joined, without ids."""
    events: list[Event] = []
    for piece in pieces:
        events += parser.feed(piece)
    events += parser.finish()
    found: list[list[str]] = []
    for event in events:
        kind = type(event).__name__
        if isinstance(event, CallBegin):
            found.append([kind, event.name])
        elif found and found[-1][0] == kind:
            found[-1][1] += event.text
        else:
            found.append([kind, event.text])
    return found


def calls_in(found: list[list[str]]) -> list[tuple[str, Any]]:
    """The calls: names, and arguments as they parse."""
    names = [n for n, (kind, _) in enumerate(found) if kind == "CallBegin"]
    return [(found[n][1], json.loads(found[n + 1][1])) for n in names]
