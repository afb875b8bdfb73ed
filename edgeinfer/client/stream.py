"""Answers from /v1/chat/completions, whole or chunk by chunk."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Literal

import httpx
import msgspec

from edgeinfer.client.http import JSON_HEADERS, Target, json_body, mapped_errors, raise_for_status
from edgeinfer.errors import EdgeinferError, ErrorData, revive_public

CHAT = "/v1/chat/completions"


class Chunk(msgspec.Struct, frozen=True):
    """Text that was added to the answer, to the thinking before it, or to a tool call.

    Attributes:
        begins: the text is the name of a new call.
    """

    text: str
    kind: Literal["answer", "thinking", "call"] = "answer"
    begins: bool = False


class AnswerStats(msgspec.Struct):
    """Figures that are known once an answer has ended."""

    finish_reason: str | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None

    def line(self) -> str:
        parts = [f"{self.tokens} token{'' if self.tokens == 1 else 's'}" if self.tokens is not None else ""]
        parts += [f"{speed_text(self.tokens_per_second)} tok/s" if self.tokens_per_second else ""]
        return ", ".join(part for part in parts if part)


def speed_text(speed: float) -> str:
    """Write a number with two or three digits that count: 0.52, 9.3, 43, 1,230."""
    if speed >= 1000:
        return f"{round(speed, -1):,.0f}"
    return f"{speed:.0f}" if speed >= 100 else f"{speed:.3g}"


def complete(client: httpx.Client, target: Target, body: dict[str, Any]) -> bytes:
    """Return the whole answer at once: the server's JSON, untouched."""
    with mapped_errors(target):
        response = client.post(CHAT, content=json_body(body), headers=JSON_HEADERS)
    raise_for_status(response, target)
    return response.content


def stream(
    client: httpx.Client, target: Target, body: dict[str, Any], stats: AnswerStats
) -> Generator[Chunk, None, None]:
    """Yield chunks as they arrive and fill in `stats`. Closing the iterator cancels the answer."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with (
        mapped_errors(target),
        client.stream("POST", CHAT, content=json_body(body), headers=JSON_HEADERS) as response,
    ):
        raise_for_status(response, target)
        started: float | None = None
        for event in events(response.iter_bytes()):
            for chunk in _chunks(event, stats):
                started = started or time.monotonic()
                yield chunk
        if stats.tokens_per_second is None and started and stats.tokens:
            stats.tokens_per_second = stats.tokens / max(time.monotonic() - started, 1e-3)
        if stats.finish_reason is None:
            raise EdgeinferError("the answer ended before it was complete", hint="edgeinfer status")


def events(blocks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON of each server-sent event until [DONE].

    Lines end at a newline only: `splitlines` (and so httpx's `iter_lines`) would also cut at U+2028,
    which may stand in a JSON string.

    Raises:
        EdgeinferError: the server reported it inside the stream.
    """
    rest = b""
    for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = msgspec.json.decode(data, type=dict[str, Any])
            if "error" in event:
                raise revive_public(msgspec.convert(event["error"], ErrorData))
            yield event


def _chunks(event: dict[str, Any], stats: AnswerStats) -> Iterator[Chunk]:
    if usage := event.get("usage"):
        stats.tokens = usage.get("completion_tokens")
    if timings := event.get("timings"):
        stats.tokens_per_second = timings.get("predicted_per_second")
    for choice in event.get("choices") or ():
        stats.finish_reason = choice.get("finish_reason") or stats.finish_reason
        delta = choice.get("delta") or {}
        if thinking := delta.get("reasoning_content"):
            yield Chunk(thinking, "thinking")
        if text := delta.get("content"):
            yield Chunk(text)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if name := function.get("name"):
                yield Chunk(name, "call", begins=True)
            if arguments := function.get("arguments"):
                yield Chunk(arguments, "call")
