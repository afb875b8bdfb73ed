"""Schemas in the style of real ones: all compile, and all that a grammar allows is valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.grammar.check import find_violation
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource
from edgeinfer.grammar.to_llguidance import to_llguidance
from tests.support.grammar import sample

CORPUS = Path(__file__).with_name("corpus")
SEEDS = range(4)

UNENFORCED = {"feature flags": ("/propertyNames",), "overlapping numbers": ("/oneOf",)}
"""Schemas of the corpus that are left to the check of finished answers, and where."""


def corpus() -> Iterator[tuple[str, Any]]:
    for path in sorted(CORPUS.glob("*.json")):
        yield from json.loads(path.read_text()).items()


def part(schema: Any) -> GrammarSource:
    return GrammarSource("s0", "json_schema", json.dumps(schema), "schema")


def compile_schema(schema: Any) -> CompiledGrammar:
    return to_llguidance(Grammar("start: @s0", (part(schema),)))


def test_corpus_is_large_enough() -> None:
    """And no two schemas share a name."""
    names = [name for name, _ in corpus()]
    assert len(names) == len(set(names)) >= 100


@pytest.mark.parametrize(("name", "schema"), [pytest.param(*c, id=c[0]) for c in corpus()])
def test_every_answer_the_grammar_allows_is_valid(name: str, schema: Any) -> None:
    """Under the caller's own schema, by an independent validator."""
    grammar = compile_schema(schema)
    assert UNENFORCED.get(name, ()) == grammar.unenforced.get("s0", ())
    answers = [sample(grammar.text, seed) for seed in SEEDS]
    complete = [answer for answer in answers if answer is not None]
    assert complete
    if name not in UNENFORCED:
        assert [None] * len(complete) == [find_violation(part(schema), answer) for answer in complete]
