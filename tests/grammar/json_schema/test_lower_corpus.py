"""Compiles schemas in the style of real ones: all compile, and every answer a grammar allows is valid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.grammar.check import find_violation
from tests.support.grammar import compile_schema, sample, schema_source

CORPUS = Path(__file__).with_name("corpus")
SEEDS = range(4)

UNENFORCED = {"feature flags": ("/propertyNames",), "overlapping numbers": ("/oneOf",)}
"""Schema of the corpus -> JSON pointers that are left to the check of finished answers."""


def corpus() -> Iterator[tuple[str, Any]]:
    for path in sorted(CORPUS.glob("*.json")):
        yield from json.loads(path.read_text()).items()


def test_corpus_is_large_enough() -> None:
    """At least a hundred schemas have names of their own."""
    names = [name for name, _ in corpus()]
    assert len(names) == len(set(names)) >= 100


@pytest.mark.parametrize(("name", "schema"), [pytest.param(*c, id=c[0]) for c in corpus()])
def test_every_answer_the_grammar_allows_is_valid(name: str, schema: Any) -> None:
    """An independent validator accepts all sampled answers under the caller's own schema."""
    grammar = compile_schema(schema)
    assert UNENFORCED.get(name, ()) == grammar.unenforced.get("s0", ())
    answers = [sample(grammar.text, seed) for seed in SEEDS]
    complete = [answer for answer in answers if answer is not None]
    assert complete
    if name not in UNENFORCED:
        assert [None] * len(complete) == [
            find_violation(schema_source(schema), answer) for answer in complete
        ]
