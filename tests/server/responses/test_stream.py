"""POST /v1/responses as a stream: the events, their order, and how a stream ends."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from edgeinfer.errors import QueueFull, WorkerDied, context_exceeded
from edgeinfer.inference.output import Finish
from edgeinfer.server.responses import create
from tests.support.responses import CALLING, THINKING, WEATHER, ResponsesWorld, call
from tests.support.server import error, eventually

BEGIN = ["response.created", "response.in_progress"]
MESSAGE_BEGIN = ["response.output_item.added", "response.content_part.added"]
MESSAGE_END = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
CALL_END = ["response.function_call_arguments.done", "response.output_item.done"]


class City(BaseModel):
    name: str


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of events, of several deltas in a row one."""
    found: list[str] = []
    for event in events:
        if not (event["type"].endswith(".delta") and found and found[-1] == event["type"]):
            found.append(event["type"])
    return found


def test_a_message_comes_as_openai_sends_it(world: ResponsesWorld) -> None:
    """Each event has its number, its place and no field too few."""
    events = world.stream()
    assert [event["type"] for event in events] == [
        *BEGIN,
        *MESSAGE_BEGIN,
        "response.output_text.delta",
        "response.output_text.delta",
        *MESSAGE_END,
        "response.completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    created, added, delta, done = events[0], events[2], events[4], events[-2]
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["output"] == []
    assert added["item"]["status"] == "in_progress"
    assert added["item"]["content"] == []
    assert {**delta, "sequence_number": 4} == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        "output_index": 0,
        "item_id": added["item"]["id"],
        "content_index": 0,
        "delta": "Hel",
        "logprobs": [],
    }
    assert done["item"]["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ]
    response = events[-1]["response"]
    assert response["output"] == [done["item"]]
    assert response["id"] == created["response"]["id"]
    assert response["usage"]["total_tokens"] == 7


def test_a_stream_ends_with_what_comes_whole(world: ResponsesWorld) -> None:
    """But for ids and times."""
    whole, streamed = world.post().json(), world.stream()[-1]["response"]
    for response in (whole, streamed):
        for name in ("id", "created_at", "completed_at"):
            del response[name]
        del response["output"][0]["id"]
    assert streamed == whole


@pytest.mark.parametrize(
    ("summary", "between"),
    [
        (
            None,
            [
                "response.output_item.added",
                "response.content_part.added",
                "response.reasoning_text.delta",
                "response.reasoning_text.done",
                "response.content_part.done",
                "response.output_item.done",
            ],
        ),
        (
            "auto",
            [
                "response.output_item.added",
                "response.reasoning_summary_part.added",
                "response.reasoning_summary_text.delta",
                "response.reasoning_summary_text.done",
                "response.reasoning_summary_part.done",
                "response.output_item.done",
            ],
        ),
    ],
)
def test_thoughts_come_before_the_message(
    world: ResponsesWorld, summary: str | None, between: list[str]
) -> None:
    """As an item of their own, which ends before the next begins."""
    world.engine.model, world.engine.pieces = THINKING, ("hm", "m", "</think>", "\n\nYes")
    events = world.stream(reasoning={"summary": summary})
    message = [*MESSAGE_BEGIN, "response.output_text.delta", *MESSAGE_END]
    assert kinds(events) == [*BEGIN, *between, *message, "response.completed"]
    assert {event["output_index"] for event in events[2:8]} == {0}
    place = "summary_index" if summary else "content_index"
    assert {
        event[place] for event in events if ".delta" in event["type"] and "reasoning" in event["type"]
    } == {0}


def test_text_and_calls_are_items_in_their_order(world: ResponsesWorld) -> None:
    """Every call with its id, its name and its arguments in pieces."""
    pieces = (*"Let me see. ", *call("weather", {"place": "Rome"}), *call("weather", {"place": "Oslo"}))
    world.engine.model, world.engine.pieces = CALLING, pieces
    events = world.stream(tools=[WEATHER])
    one_call = ["response.output_item.added", "response.function_call_arguments.delta", *CALL_END]
    message = [*MESSAGE_BEGIN, "response.output_text.delta", *MESSAGE_END]
    assert kinds(events) == [*BEGIN, *message, *one_call, *one_call, "response.completed"]
    added = [event["item"] for event in events if event["type"] == "response.output_item.added"]
    done = [event for event in events if event["type"] == "response.function_call_arguments.done"]
    assert [item.get("arguments") for item in added] == [None, "", ""]
    assert all(item["call_id"].startswith("call_") and item["name"] == "weather" for item in added[1:])
    assert [json.loads(event["arguments"]) for event in done] == [{"place": "Rome"}, {"place": "Oslo"}]
    deltas = [event for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(e["delta"] for e in deltas if e["output_index"] == 1) == done[0]["arguments"]
    assert len(deltas) > 2


def test_a_stream_that_is_cut_ends_incomplete(world: ResponsesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The item too."""
    monkeypatch.setattr("edgeinfer.inference.fake.fake_finish", lambda *_: Finish("length", 5, 1, 2))
    events = world.stream()
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert events[-2]["item"]["status"] == "incomplete"


def test_the_client_s_stream_helper_understands_it(client: OpenAI, world: ResponsesWorld) -> None:
    """It adds the deltas up, and parses text and arguments."""
    world.engine.pieces = ('{"name"', ': "Rome"}')
    with client.responses.stream(model="scripted", input="Where?", text_format=City) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ['{"name"', '{"name": "Rome"}']
    assert final.output_parsed == City(name="Rome")
    world.engine.model, world.engine.pieces = CALLING, tuple(call("City", {"name": "Oslo"}))
    tool = openai.pydantic_function_tool(City)["function"]
    flat: Any = {"type": "function", **tool}
    with client.responses.stream(model="scripted", input="Where?", tools=[flat]) as stream:
        *_, last = [e.snapshot for e in stream if e.type == "response.function_call_arguments.delta"]
        called = stream.get_final_response()
    assert json.loads(last) == {"name": "Oslo"}
    (item,) = called.output
    assert item.type == "function_call"


async def test_the_asynchronous_client_understands_it(world: ResponsesWorld) -> None:
    """Whole, by events and by the helper."""
    async with AsyncOpenAI(base_url=f"{world.served.url}/v1", api_key="none", max_retries=0) as client:
        made = await client.responses.create(model="scripted", input="Hi")
        assert (await client.responses.retrieve(made.id)).output_text == "Hello"
        events = await client.responses.create(model="scripted", input="Hi", stream=True)
        assert "Hello" == "".join(
            [event.delta async for event in events if event.type == "response.output_text.delta"]
        )
        async with client.responses.stream(model="scripted", input="Hi") as stream:
            assert (await stream.get_final_response()).output_text == "Hello"


def test_log_probabilities_come_with_their_deltas(world: ResponsesWorld) -> None:
    """And all of them at the end."""
    events = world.stream(include=["message.output_text.logprobs"])
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert ["".join(entry["token"] for entry in delta["logprobs"]) for delta in deltas] == ["Hel", "lo"]
    (done,) = [event for event in events if event["type"] == "response.output_text.done"]
    assert len(done["logprobs"]) == 5


def test_a_long_prompt_is_bridged_by_events(world: ResponsesWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """`created` first, then `in_progress` again and again: idle timers of clients overlook comments."""
    monkeypatch.setattr(create, "PROGRESS_INTERVAL", 0.05)
    world.engine.hold_first = 1.0
    events = world.stream()  # which knows no comments
    found = [event["type"] for event in events]
    assert found[:2] == BEGIN
    assert found.count("response.created") == 1
    assert found.count("response.in_progress") > 2
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert found[-1] == "response.completed"


def fail(problem: Exception) -> Callable[[], object]:
    def raising() -> object:
        raise problem

    return raising


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (WorkerDied("the worker died"), "server_error", "the worker died"),
        (QueueFull("the queue is full", retry_after=7), "rate_limit_exceeded", "try again in 7s"),
        (ValueError("a bug"), "server_error", "internal error"),
    ],
)
def test_an_error_in_the_middle_is_a_failed_response(
    world: ResponsesWorld, problem: Exception, code: str, words: str
) -> None:
    """The last event, with the code that clients know, and nothing stored."""
    world.engine.before_last = fail(problem)
    events = world.stream()
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"]["code"] == code
    assert words in events[-1]["response"]["error"]["message"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    id = events[-1]["response"]["id"]
    assert world.served.client.get(f"/v1/responses/{id}").status_code == 404


def test_an_error_before_the_stream_has_a_status(world: ResponsesWorld) -> None:
    """In OpenAI's envelope."""
    world.engine.before_first = fail(QueueFull("the queue is full", retry_after=7))
    response = world.post(stream=True)
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert error(response)["code"] == "queue_full"


def test_a_conversation_that_is_too_long_fails_within_the_stream(world: ResponsesWorld) -> None:
    """Codex shortens it only if it reads the code there. Without a stream it is a status."""
    world.engine.before_first = fail(context_exceeded(64, "the prompt has 99"))
    events = world.stream()
    assert [event["type"] for event in events] == [*BEGIN, "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "context_length_exceeded"
    response = world.post()
    assert (response.status_code, error(response)["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hold", ["hold_first", "hold_each"])
def test_a_client_that_leaves_ends_its_response(world: ResponsesWorld, stream: bool, hold: str) -> None:
    """Before the first token, or in the middle."""
    setattr(world.engine, hold, 60.0)
    body = json.dumps({"input": "Hi", "stream": stream}).encode()
    head = "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", world.served.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert eventually(lambda: world.engine.running)
    assert eventually(lambda: not world.engine.running)


def test_obfuscation_is_not_there_and_the_response_says_so(world: ResponsesWorld) -> None:
    """Whoever asks for it learns that the lengths of pieces can be seen."""
    response = world.post(stream=True, stream_options={"include_obfuscation": True})
    assert response.headers["x-edgeinfer-ignored"] == "stream_options.include_obfuscation"
    assert "obfuscation" not in response.text
