"""Servers of OpenAI's API are asked for what they do, and their answers are read as they come."""

from __future__ import annotations

import random
import socket
import threading

import pytest

from edgeinfer.bench.openai_server import OpenAIServer, Refused
from edgeinfer.bench.scenarios import QUICK, SCENARIOS
from edgeinfer.errors import EdgeinferError, NotReady
from tests.support.other_server import other_server


async def test_an_answer_has_a_time_for_each_part_and_the_servers_own_counts() -> None:
    """Also where chunks end within a line."""
    with other_server() as other:
        stream = await OpenAIServer(other.url).ask("hello", 4)
    assert ("One two three four", 7, 9, True) == (
        stream.text,
        stream.prompt_tokens,
        stream.tokens,
        stream.counted,
    )
    assert ("stop", "other") == (stream.finish_reason, stream.model)
    assert sorted(stream.times) == stream.times
    assert 4 == len(stream.times)


async def test_without_counts_parts_and_words_are_counted() -> None:
    with other_server(counts=False) as other:
        server = OpenAIServer(other.url)
        await server.prepare()
        assert not server.counts
        stream = await server.ask("three words here", 4, "and two")
    assert (4, 5, False) == (stream.tokens, stream.prompt_tokens, stream.counted)


async def test_fields_that_a_server_refuses_are_left_out() -> None:
    """One after the other, and the limit has two names."""
    with other_server(refused=("ignore_eos", "temperature")) as other:
        server = OpenAIServer(other.url)
        await server.prepare()
        assert ["stream_options"] == list(server.optional)
        await server.ask("hello", 4, form={"type": "object"})
        assert not {"ignore_eos", "temperature"} & other.requests[-1].keys()


async def test_a_server_that_refuses_every_request_says_why() -> None:
    with other_server(refused=("messages",)) as other, pytest.raises(Refused) as refusal:
        await OpenAIServer(other.url).prepare()
    assert ("400 unknown parameter: messages", 400) == (refusal.value.message, refusal.value.answered)


@pytest.mark.parametrize(
    ("scenario", "field"), [("predicted", "prediction"), ("structured", "response_format")]
)
async def test_a_scenario_that_a_server_does_not_know_is_refused(scenario: str, field: str) -> None:
    with other_server(refused=(field,)) as other:
        server = OpenAIServer(other.url)
        await server.prepare()
        with pytest.raises(Refused, match=f"400 unknown parameter: {field}"):
            await SCENARIOS[scenario].measure(server, random.Random(1), QUICK)


async def test_an_answer_that_ignores_the_schema_is_not_measured() -> None:
    with other_server() as other:
        with pytest.raises(Refused, match="does not keep to the schema"):
            await SCENARIOS["structured"].measure(OpenAIServer(other.url), random.Random(1), QUICK)
        other.pieces = ('{"title": "A"}',)
        with pytest.raises(Refused, match="does not keep to the schema"):
            await SCENARIOS["structured"].measure(OpenAIServer(other.url), random.Random(1), QUICK)


async def test_an_answer_in_one_piece_has_no_rate() -> None:
    with other_server() as other:
        other.pieces = ("all at once",)
        with pytest.raises(Refused, match="came in one piece"):
            await SCENARIOS["single"].measure(OpenAIServer(other.url), random.Random(1), QUICK)


async def test_an_error_within_a_stream_is_a_refusal() -> None:
    with other_server() as other:
        other.answer = (200, "text/event-stream", 'data: {"error": {"message": "out of\\n memory"}}\n\n')
        with pytest.raises(Refused, match=r"^out of memory$"):
            await OpenAIServer(other.url).ask("hello", 4)


@pytest.mark.parametrize("body", ["<html>hello</html>", "", "data: [DONE]\n\n", "data: 1\n\n"])
async def test_what_does_not_stream_events_is_no_model_server(body: str) -> None:
    with other_server() as other:
        other.answer = (200, "text/html", body)
        with pytest.raises(EdgeinferError, match="does not speak OpenAI's API"):
            await OpenAIServer(other.url).prepare()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort",
    ],
)
async def test_what_does_not_speak_http_is_told_apart(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with pytest.raises(EdgeinferError, match="does not answer as HTTP does"):
            await OpenAIServer(f"http://127.0.0.1:{listener.getsockname()[1]}").ask("hello", 4)
        thread.join()


async def test_where_nobody_listens_there_is_no_server() -> None:
    with pytest.raises(NotReady, match="no server answers at"):
        await OpenAIServer("http://127.0.0.1:1").prepare()
