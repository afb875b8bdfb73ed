"""The bundled model's training data: what it is scored on is not in it, and its calls are right."""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.paths import ROOT

NANO = ROOT / "scripts" / "nano"


@pytest.fixture(scope="module")
def nano() -> Iterator[Any]:
    """The scripts import one another by bare names, as they do when run."""
    before = set(sys.modules)
    sys.path.insert(0, str(NANO))
    yield importlib.import_module("data")
    sys.path.remove(str(NANO))
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(chats: list[Any]) -> tuple[set[str], set[str]]:
    """Of all tools, and of their required parameters."""
    functions = [tool.schema["function"] for chat in chats for tool in chat.tools]
    required = {name for f in functions for name in f["parameters"].get("required", [])}
    return {f["name"] for f in functions}, required


def test_scored_tools_and_parameters_are_not_trained_on(nano: Any) -> None:
    trained, scored = names(list(nano.conversations(1000, 3000))), names(list(nano.unseen(55, 300)))
    assert len(scored[0]) > 300
    assert not trained[0] & scored[0]
    assert not trained[1] & scored[1]


def test_scored_phrases_are_not_trained_on(nano: Any) -> None:
    def asked(chats: Any) -> set[str]:
        return {m["content"].lower().strip(" ?.!") for c in chats for m in c.messages if m["role"] == "user"}

    assert not asked(nano.conversations(1000, 3000)) & asked(nano.chats(55, 100))


def test_the_wanted_calls_are_valid(nano: Any) -> None:
    chats = [*nano.conversations(1000, 500), *nano.known(55, 200), *nano.unseen(55, 200)]
    checked = 0
    for chat in chats:
        parameters = {tool.name: tool.schema["function"]["parameters"] for tool in chat.tools}
        for message in chat.messages:
            for call in message.get("tool_calls", []):
                function = call["function"]
                Draft202012Validator(parameters[function["name"]]).validate(function["arguments"])
                checked += 1
    assert checked > 700


def test_data_is_the_same_each_time(nano: Any) -> None:
    def drawn() -> str:
        return json.dumps([[c.messages, c.declared()] for c in nano.conversations(1000, 50)])

    assert drawn() == drawn()


def test_scored_programs_are_python_and_not_trained_on(nano: Any) -> None:
    programs = importlib.import_module("programs")
    rng = random.Random(4000)
    trained = {programs.source(rng, False) for _ in range(3000)}
    scored = {"".join(parts) for parts in programs.holes(55, 200)}
    for text in scored:
        compile(text, "scored", "exec")
    assert len(scored) > 100
    assert not trained & scored
