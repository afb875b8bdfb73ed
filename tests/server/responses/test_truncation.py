"""`truncation`: a conversation that does not fit loses its oldest items, or is refused."""

from __future__ import annotations

from typing import Any

from edgeinfer.chat.message import Message, ToolCall
from edgeinfer.errors import context_exceeded
from edgeinfer.server.responses.truncation import shortened
from tests.support.responses import ResponsesWorld
from tests.support.server import error


def items(count: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"<{n}>" + "x" * 100} for n in range(count)]


def allow(world: ResponsesWorld, characters: int) -> None:
    """Let the engine take prompts of so many characters."""

    def check() -> None:
        if len(world.prompt()) > characters:
            raise context_exceeded(64, "the prompt has more")

    world.engine.before_first = check


def test_the_oldest_items_go_until_the_rest_fits(world: ResponsesWorld) -> None:
    """The instructions and the newest stay, and the response says how it was asked for."""
    allow(world, 1200)
    response = world.post(input=items(40), instructions="Be brief.", truncation="auto").json()
    assert response["status"] == "completed"
    assert response["truncation"] == "auto"
    prompt = world.prompt()
    assert prompt.startswith("[system]Be brief.\n")
    kept = [n for n in range(40) if f"<{n}>" in prompt]
    assert 3 <= len(kept) < 12
    assert kept == list(range(kept[0], 40))
    assert len(world.engine.requests) < 10


def test_a_stream_is_truncated_in_the_same_way(world: ResponsesWorld) -> None:
    """It begins once."""
    allow(world, 1200)
    events = world.stream(input=items(40), truncation="auto")
    assert [event["type"] for event in events].count("response.created") == 1
    assert events[-1]["type"] == "response.completed"


def test_without_it_nothing_is_dropped(world: ResponsesWorld) -> None:
    """The request is refused."""
    allow(world, 1200)
    response = world.post(input=items(40))
    assert (response.status_code, error(response)["code"]) == (400, "context_length_exceeded")
    assert len(world.engine.requests) == 1


def test_the_last_item_is_never_dropped(world: ResponsesWorld) -> None:
    """If it does not fit, nothing does."""
    allow(world, 10)
    response = world.post(input=items(40), truncation="auto")
    assert (response.status_code, error(response)["code"]) == (400, "context_length_exceeded")
    assert "<39>" in world.prompt()
    assert "<38>" not in world.prompt()


def test_a_call_stays_with_its_results() -> None:
    """A result alone says nothing."""
    lead = Message(role="system", content="Be brief.")
    call = Message(role="assistant", tool_calls=(ToolCall("f", {"a": "x" * 200}, "c"),))
    result = Message(role="tool", content="y", tool_call_id="c")
    question, last = Message(role="user", content="z" * 50), Message(role="user", content="?")
    found = list(shortened([lead, question, call, result, last]))
    assert found == [[lead, last]]
    assert list(shortened([lead])) == []
    assert list(shortened([])) == []
