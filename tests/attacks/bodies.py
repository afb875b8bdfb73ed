"""Attacks by what bodies hold: many times their size, if it were built, checked or told."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterable

from tests.attacks.target import Target

MEGABYTE = 1 << 20
CHAT = "/v1/chat/completions"
HI = b'"messages":[{"role":"user","content":"Hi"}],"max_tokens":1'

Post = tuple[str, bytes]


def sender(make: Callable[[], Iterable[Post]]) -> Callable[[Target], None]:
    """An attack that sends these bodies again and again, one at a time."""

    def send(target: Target) -> None:
        posts = list(make())
        while True:
            for path, body in posts:
                if target.is_over():
                    return
                target.post(path, body)

    return send


def _variables(item: str, size: int) -> Post:
    count = (size - 200) // (len(item) + 1)
    items = ",".join([item] * count).encode()
    return CHAT, b"{" + HI + b',"chat_template_kwargs":{"a":[' + items + b"]}}"


def many_values() -> Iterable[Post]:
    for item in ("[]", "{}", "1", '""', '{"a":0}', "9" * 60):
        yield _variables(item, 16 * MEGABYTE - 1000)


def as_many_values_as_allowed() -> Iterable[Post]:
    yield _variables("[]", 190_000)
    yield _variables("1", 1_000_000)
    yield "/v1/completions", json.dumps({"prompt": [[1] * 4000] * 120}).encode()


def wrong_values() -> Iterable[Post]:
    ones = b"[" + b"1," * (MEGABYTE // 2 - 200) + b"1]"
    yield CHAT, b"{" + HI + b',"response_format":{"type":"choice","choices":' + ones + b"}}"
    yield CHAT, b"{" + HI + b',"stop":' + ones + b"}"
    yield CHAT, b'{"messages":' + ones + b"}"
    yield "/infill", b'{"input_prefix":"","input_suffix":"","samplers":' + ones + b"}"
    yield "/v1/embeddings", b'{"input":["a",' + ones[1:] + b"}"
    part = b'{"role":"user","content":[' + b",".join([b'{"type":"text"}'] * 1000) + b"]}"
    yield CHAT, b'{"messages":[' + b",".join([part] * 60) + b"]}"


def unknown_names() -> Iterable[Post]:
    members = b",".join(b'"x%d":1' % n for n in range(130_000))
    yield CHAT, b"{" + HI + b"," + members + b"}"
    yield CHAT, b'{"messages":[{"role":"user","content":"x",' + members + b"}]}"
    yield CHAT, b"{" + HI + b',"logit_bias":{' + members + b"}}"
    yield CHAT, b"{" + HI + b',"metadata":{' + members + b',"x0":1}}'


def long_texts() -> Iterable[Post]:
    text = b"a" * (16 * MEGABYTE - 1000)
    yield CHAT, b"{" + HI + b',"' + text + b'":1}'
    yield CHAT, b'{"messages":[{"content":"x","role":"' + text + b'"}]}'
    yield CHAT, b"{" + HI + b',"seed":' + b"9" * len(text) + b"}"
    yield CHAT, b'{"messages":[{"role":"user","content":"' + rb"\"" * (len(text) // 2) + b'"}]}'
    yield CHAT, b"{" + HI + b" " * len(text) + b"}"


def json_in_json() -> Iterable[Post]:
    arguments = '{"a":[' + "[]," * (4 * MEGABYTE) + "[]]}"
    call = {"type": "function", "id": "a", "function": {"name": "f", "arguments": arguments}}
    yield (
        CHAT,
        json.dumps({"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]}).encode(),
    )


def long_conversations() -> Iterable[Post]:
    messages = [{"role": "user", "content": "hello there"}] * 4000
    yield CHAT, json.dumps({"messages": messages, "max_tokens": 1}).encode()
    text = "hello [world], {x}: " * 100_000
    yield CHAT, json.dumps({"messages": [{"role": "user", "content": text}], "max_tokens": 1}).encode()


def many_tools() -> Iterable[Post]:
    properties = {f"p{n}": {"type": "string"} for n in range(100)}
    function = {"parameters": {"type": "object", "properties": properties}}
    tools = [{"type": "function", "function": {"name": f"f{n}", **function}} for n in range(256)]
    yield CHAT, b"{" + HI + b',"tools":' + json.dumps(tools).encode() + b"}"


def large_answers() -> Iterable[Post]:
    yield CHAT, b"{" + HI[: HI.rindex(b",")] + b',"n":16,"max_tokens":200,"logprobs":true,"top_logprobs":20}'


def send_many_at_once(target: Target) -> None:
    """Twelve large bodies at a time."""
    body = b"{" + HI + b',"chat_template_kwargs":{"a":"' + b"a" * (16 * MEGABYTE - 1000) + b'"}}'

    def send() -> None:
        while not target.is_over():
            with contextlib.suppress(OSError, http.client.HTTPException):
                target.post(CHAT, body)

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
