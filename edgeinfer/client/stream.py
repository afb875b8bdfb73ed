"""One answer from /v1/chat/completions, piece by piece."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Literal

import httpx
import msgspec

from edgeinfer.client.http import Target, check, mapped_errors
from edgeinfer.errors import EdgeinferError, ErrorData, revive

CHAT = "/v1/chat/completions"


class Piece(msgspec.Struct, frozen=True):
    """Text that was added: to the answer, to the thinking before it, or to a call. `begins`: a call's name."""

    text: str
    kind: Literal["answer", "thinking", "call"] = "answer"
    begins: bool = False


class Figures(msgspec.Struct):
    """What is known once an answer has ended."""

    finish_reason: str | None = None
    tokens: int | None = None
    tokens_per_second: float | None = None

    def line(self) -> str:
        parts = [f"{self.tokens} token{'' if self.tokens == 1 else 's'}" if self.tokens is not None else ""]
        parts += [f"{self.tokens_per_second:.3g} tok/s" if self.tokens_per_second else ""]
        return ", ".join(part for part in parts if part)


def whole(client: httpx.Client, target: Target, body: dict[str, Any]) -> bytes:
    """The answer in one piece: the server's JSON, untouched."""
    with mapped_errors(target):
        response = client.post(CHAT, content=msgspec.json.encode(body), headers=JSON)
    check(response, target)
    return response.content


def stream(
    client: httpx.Client, target: Target, body: dict[str, Any], figures: Figures
) -> Generator[Piece, None, None]:
    """Pieces as they come; `figures` is filled in on the way. Closing the iterator cancels the answer."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with (
        mapped_errors(target),
        client.stream("POST", CHAT, content=msgspec.json.encode(body), headers=JSON) as response,
    ):
        check(response, target)
        started: float | None = None
        for event in events(response.iter_bytes()):
            for piece in _pieces(event, figures):
                started = started or time.monotonic()
                yield piece
        if figures.tokens_per_second is None and started and figures.tokens:
            figures.tokens_per_second = figures.tokens / max(time.monotonic() - started, 1e-3)
        if figures.finish_reason is None:
            raise EdgeinferError("the answer broke off before its end", hint="edgeinfer status")


JSON = {"Content-Type": "application/json"}


def events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON of each server-sent event until [DONE].

    Lines end at a newline only: `splitlines` (and so httpx's `iter_lines`) would also cut at U+2028,
    which may stand in a JSON string.

    Raises:
        EdgeinferError: what the server reported inside of the stream.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = msgspec.json.decode(data, type=dict[str, Any])
            if "error" in event:
                raise revive(msgspec.convert(event["error"], ErrorData))
            yield event


def _pieces(event: dict[str, Any], figures: Figures) -> Iterator[Piece]:
    if usage := event.get("usage"):
        figures.tokens = usage.get("completion_tokens")
    if timings := event.get("timings"):
        figures.tokens_per_second = timings.get("predicted_per_second")
    for choice in event.get("choices") or ():
        figures.finish_reason = choice.get("finish_reason") or figures.finish_reason
        delta = choice.get("delta") or {}
        if thinking := delta.get("reasoning_content"):
            yield Piece(thinking, "thinking")
        if text := delta.get("content"):
            yield Piece(text)
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            if name := function.get("name"):
                yield Piece(name, "call", begins=True)
            if arguments := function.get("arguments"):
                yield Piece(arguments, "call")
