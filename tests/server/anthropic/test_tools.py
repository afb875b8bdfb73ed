"""The tools of a request, and which of them an answer may call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.anthropic import CALL, JSON, TIME, answer, post, prompt, scripted
from tests.support.server import Scripted, Served, serving

OTHER: JSON = {"name": "stop", "input_schema": {"type": "object", "properties": {}}}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}


@pytest.fixture(scope="module")
def engine() -> Scripted:
    return scripted(*CALL)


@pytest.fixture(scope="module")
def served(engine: Scripted) -> Iterator[Served]:
    with serving(engine) as served:
        yield served


def grammar(served: Served, engine: Scripted, **choice: object) -> str:
    """The grammar of an answer that may call two tools."""
    answer(post(served, tools=[TIME, OTHER], tool_choice=choice))
    return engine.structured.grammar or ""


def test_a_tool_is_shown_to_the_model_with_its_description_and_schema(
    served: Served, engine: Scripted
) -> None:
    answer(post(served, tools=[TIME]))
    for part in ("get_time", "Says how late it is.", '"zone"'):
        assert part in prompt(engine)


def test_a_choice_of_one_tool_allows_exactly_that_tool(served: Served, engine: Scripted) -> None:
    one = grammar(served, engine, type="tool", name="get_time")
    assert "get_time" in one
    assert '"stop' not in one
    assert "stop" in grammar(served, engine, type="any")


def test_none_allows_no_call_but_shows_the_tools(served: Served, engine: Scripted) -> None:
    """The prompt stays in the cache, whatever the choice is."""
    message = answer(post(served, tools=[TIME], tool_choice={"type": "none"}))
    assert "tool_use" not in [block["type"] for block in message["content"]]
    assert "get_time" in prompt(engine)


def test_each_choice_has_a_grammar_of_its_own(served: Served, engine: Scripted) -> None:
    choices: list[JSON] = [
        {"type": "auto"},
        {"type": "auto", "disable_parallel_tool_use": True},
        {"type": "any"},
        {"type": "any", "disable_parallel_tool_use": True},
        {"type": "tool", "name": "get_time"},
        {"type": "none"},
    ]
    assert len({grammar(served, engine, **choice) for choice in choices}) == len(choices)


def test_tools_that_anthropic_defines_are_left_out_beside_others(served: Served, engine: Scripted) -> None:
    """A client that can do without them goes on, and a header names them."""
    response = post(served, tools=[TIME, SEARCH, {"type": "bad\ntype"}])
    assert answer(response)["stop_reason"] == "tool_use"
    ignored = response.headers["x-edgeinfer-ignored"]
    assert ignored.endswith("tools[1] (web_search_20250305), tools[2]")
    assert "web_search" not in prompt(engine)


def test_a_tool_may_have_a_long_name(served: Served, engine: Scripted) -> None:
    """Those of MCP servers begin with the server's."""
    answer(post(served, tools=[{**TIME, "name": "n" * 128}]))
    assert "n" * 128 in prompt(engine)
