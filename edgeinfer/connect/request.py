"""Asks the daemon what an app would ask, so that what does not work is known before the app is started."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec

from edgeinfer.client.http import JSON_HEADERS, Target, get_json, json_body, mapped_errors, raise_for_status
from edgeinfer.connect.app import AppEndpoint, RequestKind
from edgeinfer.errors import EdgeinferError

HELLO = "Say hello."
PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
FUNCTION = {"name": "read_file", "description": "Read a file.", "parameters": PARAMETERS}
TOKENS = 16


def check(client: httpx.Client, target: Target, kind: RequestKind, endpoint: AppEndpoint) -> str:
    """Send a request of a kind, and return what was asked, in words.

    Raises:
        EdgeinferError: it failed, or its answer is not whole.
    """
    messages = [{"role": "user", "content": HELLO}]
    model = endpoint.model
    if kind == "chat":
        tools = [{"type": "function", "function": FUNCTION}]
        body = {"model": model, "messages": messages, "tools": tools, "max_tokens": TOKENS, "stream": True}
        return _stream(client, target, "/v1/chat/completions", body, "[DONE]")
    if kind == "responses":
        body = {"model": model, "input": HELLO, "tools": [{"type": "function", **FUNCTION}]}
        body |= {"max_output_tokens": TOKENS, "stream": True, "store": False}
        ends = ("response.completed", "response.incomplete")
        return _stream(client, target, "/v1/responses", body, *ends)
    if kind == "messages":
        tool = {"name": "read_file", "description": "Read a file.", "input_schema": PARAMETERS}
        name = endpoint.model_name if model == "default" else model
        body = {"model": name, "messages": messages, "tools": [tool], "max_tokens": TOKENS, "stream": True}
        return _stream(client, target, "/v1/messages", body, "message_stop")
    if kind == "ollama":
        get_json(client, target, "/api/tags")
        body = {"model": model, "messages": messages, "options": {"num_predict": TOKENS}}
        return _stream(client, target, "/api/chat", body, "done")
    body = {"input_prefix": "def add(a, b):\n    ", "input_suffix": "\n", "n_predict": TOKENS, "stream": True}
    if endpoint.fill_model:
        body["model"] = endpoint.fill_model
    return _stream(client, target, "/infill", body, "stop")


def _stream(client: httpx.Client, target: Target, path: str, body: dict[str, Any], *ends: str) -> str:
    """Read an answer up to its end, which each protocol marks in its own way."""
    with (
        mapped_errors(target),
        client.stream("POST", path, content=json_body(body), headers=JSON_HEADERS) as response,
    ):
        raise_for_status(response, target)
        if any(mark in ends for line in _lines(response) for mark in _marks(line, path)):
            return f"POST {path}"
    raise EdgeinferError(f"POST {path}: the answer ended before it was complete", hint="edgeinfer status")


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """Lines end at a newline only, as in `client.stream.events`."""
    rest = b""
    for block in response.iter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
    yield rest


def _marks(line: bytes, path: str) -> Iterator[str]:
    """Yield what may be the end of an answer in a line of it. Raises EdgeinferError for an error."""
    data = line.removeprefix(b"data:").strip()
    if data == b"[DONE]":
        yield "[DONE]"
    elif data.startswith(b"{"):
        event = msgspec.json.decode(data, type=dict[str, Any])
        if event.get("error"):
            error = event["error"]
            message = error.get("message", error) if isinstance(error, dict) else error
            raise EdgeinferError(f"POST {path}: {message}")
        yield str(event.get("type"))
        yield from (name for name in ("done", "stop") if event.get(name) is True)
