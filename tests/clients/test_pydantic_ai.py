"""Agents of pydantic-ai."""

from __future__ import annotations

import pytest

from tests.support.clients import ClientProgram, StartProgram

PROTOCOLS = ["openai", "responses"]
WHO = "Who are you?"


@pytest.fixture(scope="module")
def agents(program: StartProgram) -> ClientProgram:
    return program("pydantic_ai_agent")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_streamed_run_says_what_a_whole_one_says(agents: ClientProgram, protocol: str) -> None:
    pieces = agents.call("stream", protocol, WHO)
    assert len(pieces) > 5
    assert "".join(pieces) == agents.call("answer", protocol, WHO)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_agent_calls_its_tool_and_answers(agents: ClientProgram, protocol: str) -> None:
    found = agents.call("tool", protocol, "turn on the kitchen light")
    assert found["calls"] == [["kitchen", True]]
    assert found["requests"] == 2
    assert "kitchen" in found["answer"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("way", ["native", "tool"])
def test_structured_output_is_an_object_of_the_class(agents: ClientProgram, protocol: str, way: str) -> None:
    assert agents.call("structured", protocol, way, "a light")["kind"] == "light"
