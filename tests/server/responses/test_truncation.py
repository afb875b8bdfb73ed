"""`truncation`: a conversation that does not fit loses its oldest items, or is refused."""

from __future__ import annotations

from typing import Any

from tests.support.responses import ResponsesWorld

CTX = 4096
"""Tokens of the model's context; each is a letter."""


def items(count: int, size: int = 300) -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"<{n}>" + "x" * size} for n in range(count)]


def kept(world: ResponsesWorld, count: int) -> list[int]:
    return [n for n in range(count) if f"<{n}>" in world.prompt()]


def test_the_oldest_items_go_until_the_rest_fits(world: ResponsesWorld) -> None:
    """The instructions and the newest stay, with room for an answer; the response says how it was asked for."""
    response = world.post(input=items(40), instructions="Be brief.", truncation="auto").json()
    assert response["status"] == "completed"
    assert response["truncation"] == "auto"
    assert world.prompt().startswith("[system]Be brief.\n")
    assert kept(world, 40) == list(range(31, 40))
    assert len(world.prompt()) < CTX * 3 // 4


def test_a_stream_is_truncated_in_the_same_way(world: ResponsesWorld) -> None:
    """It begins once."""
    events = world.stream(input=items(40), truncation="auto")
    assert [event["type"] for event in events].count("response.created") == 1
    assert events[-1]["type"] == "response.completed"
    assert kept(world, 40) == list(range(31, 40))


def test_a_stored_conversation_is_truncated_too(world: ResponsesWorld) -> None:
    """It stays whole in the store."""
    first = world.post(input=items(20, size=100)).json()
    second = world.post(input=items(20), previous_response_id=first["id"], truncation="auto")
    assert second.status_code == 200
    stored = world.served.client.get(f"/v1/responses/{first['id']}/input_items?limit=100").json()
    assert len(stored["data"]) == 20


def test_without_it_nothing_is_dropped(world: ResponsesWorld) -> None:
    """The engine gets all of it, and says whether it is too much."""
    world.post(input=items(40))
    assert kept(world, 40) == list(range(40))
