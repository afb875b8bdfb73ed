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
    """Of all tools that the grammar declares, and of their required parameters."""
    functions = [tool.schema["function"] for chat in chats for tool in chat.tools if hasattr(tool, "skill")]
    required = {name for f in functions for name in f.get("parameters", {}).get("required", [])}
    return {f["name"] for f in functions}, required


def test_scored_tools_and_parameters_are_not_trained_on(nano: Any) -> None:
    trained, scored = names(list(nano.conversations(1000, 3000))), names(list(nano.unseen(55, 300)))
    assert len(scored[0]) > 300
    assert not trained[0] & scored[0]
    assert not trained[1] & scored[1]


def test_scored_phrases_are_not_trained_on(nano: Any) -> None:
    def asked(chats: Any) -> set[str]:
        return {
            m["content"].lower().strip(" ?.!")
            for c in chats
            for m in c.every_message()
            if m["role"] == "user"
        }

    assert not asked(nano.conversations(1000, 3000)) & asked(nano.chats(55, 100))


def test_the_wanted_calls_are_valid(nano: Any) -> None:
    chats = [*nano.conversations(1000, 500), *nano.known(55, 200), *nano.unseen(55, 200)]
    checked = 0
    for chat in chats:
        parameters = {tool.name: tool.schema["function"].get("parameters", {}) for tool in chat.tools}
        for message in chat.every_message():
            for call in message.get("tool_calls", []):
                function = call["function"]
                Draft202012Validator(parameters[function["name"]]).validate(function["arguments"])
                checked += 1
    assert checked > 700


def test_data_is_the_same_each_time(nano: Any) -> None:
    def drawn() -> str:
        return json.dumps([[c.every_message(), c.declared()] for c in nano.conversations(1000, 50)])

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


@pytest.fixture(scope="module")
def fields(nano: Any) -> Any:
    return importlib.import_module("fields")


def test_every_tool_of_the_fields_can_be_declared_and_called(nano: Any, fields: Any) -> None:
    """In any of its declarations: the call is valid there, and every text in it stands in the sentence."""
    declare = importlib.import_module("declare").declare
    rng = random.Random(3)
    tools = [tool for test in (False, True) for field in fields.fields(test).values() for tool in field]
    assert len(tools) > 2000
    for tool in tools:
        declared = declare(tool, rng)
        parameters = declared.schema["function"].get("parameters", {})
        asked = declared.ask(rng)
        Draft202012Validator(parameters).validate(asked.call["arguments"])
        free = [a for n, a in asked.call["arguments"].items() if "enum" not in parameters["properties"][n]]
        implied = {v for line in tool.lines for v in line.implied.values()}
        for text in free:
            if isinstance(text, str) and text not in implied:
                assert text.replace("'", "") in asked.text.replace("'", ""), (tool.names, asked)


def test_fields_kept_for_evaluation_are_not_trained_on(nano: Any, fields: Any) -> None:
    kept = set(fields.fields(True))
    assert len(kept) >= 5
    assert not kept & set(fields.fields(False))
    trained = {
        getattr(getattr(tool, "tool", None), "field", None)
        for c in nano.conversations(1000, 3000)
        for tool in c.tools
    }
    assert not trained & kept


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("> go", "missing={'place'}"),
        ("> go to the {house}", "unknown={'house'}"),
        ("> go to the {place} fast ; speed=slow", "speed=slow"),
    ],
)
def test_a_line_that_does_not_fit_its_tool_is_named(fields: Any, line: str, fault: str) -> None:
    text = f'# robot\n@ go\n" Go.\n- place : text room\n- speed : switch? fast / careful\n{line}\n= went\n'
    with pytest.raises(ValueError, match="robot: go") as found:
        fields.parse(text)
    assert fault in str(found.value)


def test_no_hand_written_command_is_trained_on(nano: Any, fields: Any) -> None:
    exam = json.loads((NANO / "exam.json").read_text())
    said = {c["say"].lower().strip(" ?.!") for tools in exam for c in tools["commands"]}
    assert len(said) >= 300
    lines = {
        line.text.lower().strip(" ?.!")
        for test in (False, True)
        for f in fields.fields(test).values()
        for t in f
        for line in t.lines
    }
    drawn = {
        m["content"].lower().strip(" ?.!")
        for c in nano.conversations(1000, 3000)
        for m in c.every_message()
        if m["role"] == "user"
    }
    # A few words such as "open the trunk" come to anyone's mind; whole sentences do not.
    assert {s for s in said & (lines | drawn) if len(s.split()) > 4} == set()


def test_hand_written_commands_are_valid_calls(nano: Any) -> None:
    exam = json.loads((NANO / "exam.json").read_text())
    assert len(exam) >= 25
    for tools in exam:
        parameters = {tool["name"]: tool["parameters"] for tool in tools["tools"]}
        for command in tools["commands"]:
            if command["call"]:
                Draft202012Validator(parameters[command["call"]["name"]]).validate(
                    command["call"]["arguments"]
                )
