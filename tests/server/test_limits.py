"""How much one caller may ask, and how much one request may hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from edgeinfer.chat.prompt import MAX_TOKEN_CHARS
from edgeinfer.server.auth.keys import Key
from edgeinfer.server.auth.principal import name_principal, principal_of
from edgeinfer.server.http.family import SCOPE_KEY
from edgeinfer.server.llama_server.schemas.tokens import MAX_LENGTH
from edgeinfer.server.middleware import rate_limit as limits
from edgeinfer.server.middleware.rate_limit import RateLimitMiddleware
from edgeinfer.server.openai import family as openai
from edgeinfer.server.openai.schemas.chat import MAX_MESSAGES, MAX_PARTS
from tests.support.server import INFO, Scripted, Served, error, serving


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Guarded:
    """The middleware around an application that answers at once, or when it is let go."""

    def __init__(self, per_minute: int = 0, concurrent: int = 0) -> None:
        self.clock = Clock()
        self.go = asyncio.Event()
        self.go.set()
        self.answers = 1
        self.guard = RateLimitMiddleware(self._app, per_minute, concurrent, {"/health", "/ready"}, self.clock)

    async def _app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        limits.count_answers(scope, self.answers)
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(
        self, address: str = "10.0.0.1", key: Key | None = None, path: str = "/"
    ) -> tuple[int, dict[bytes, bytes]]:
        """The answer's status and headers."""
        sent: list[Message] = []
        scope: Scope = {
            "type": "http",
            "path": path,
            "client": (address, 1),
            "headers": [],
            SCOPE_KEY: openai.family(),
        }
        if key:
            name_principal(scope, key)

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError

        await self.guard(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"])

    async def statuses(self, count: int, **who: Any) -> list[int]:
        return [(await self.ask(**who))[0] for _ in range(count)]


async def test_so_many_requests_a_minute_and_no_more() -> None:
    """A minute's at once, or evenly; then as they come back. Retry-After says when."""
    guarded = Guarded(per_minute=6)
    assert await guarded.statuses(8) == [200] * 6 + [429] * 2
    status, headers = await guarded.ask()
    assert (status, headers[b"retry-after"]) == (429, b"10")
    guarded.clock.now += 10
    assert await guarded.statuses(2) == [200, 429]
    guarded.clock.now += 60
    assert await guarded.statuses(7) == [200] * 6 + [429]


async def test_a_refused_request_does_not_count() -> None:
    """Who knocks all the time gets in as soon as who waits."""
    guarded = Guarded(per_minute=1)
    assert await guarded.statuses(50) == [200] + [429] * 49
    guarded.clock.now += 60
    assert await guarded.statuses(1) == [200]


async def test_so_many_requests_at_once_and_no_more() -> None:
    """One that ends makes room, also one that is cancelled."""
    guarded = Guarded(concurrent=2)
    guarded.go.clear()
    running = [asyncio.create_task(guarded.ask()) for _ in range(2)]
    await asyncio.sleep(0)
    status, headers = await guarded.ask()
    assert (status, headers[b"retry-after"]) == (429, b"1")
    running[0].cancel()
    await asyncio.sleep(0)
    third = asyncio.create_task(guarded.ask())
    await asyncio.sleep(0)
    assert not third.done()
    guarded.go.set()
    assert (await third)[0] == 200


async def test_a_request_for_several_answers_counts_as_several() -> None:
    """In a minute and at once; the next requests of the caller wait for them, another's do not."""
    guarded = Guarded(per_minute=6, concurrent=3)
    guarded.answers = 12
    guarded.go.clear()
    running = asyncio.create_task(guarded.ask())
    await asyncio.sleep(0)
    status, headers = await guarded.ask()
    assert (status, headers[b"retry-after"]) == (429, b"1")
    guarded.go.set()
    assert (await running)[0] == 200
    status, headers = await guarded.ask()
    assert (status, headers[b"retry-after"]) == (429, b"70")
    assert await guarded.statuses(1, address="10.0.0.2") == [200]
    guarded.clock.now += 70
    guarded.answers = 1
    assert await guarded.statuses(2) == [200, 429]


def test_answers_to_chats_and_prompts_count(tmp_path: Path) -> None:
    """Over HTTP: n answers, to each prompt."""
    with serving(Scripted(), requests_per_minute=7) as served:
        assert served.chat(n=3).status_code == 200
        assert served.complete(["a", "b"], n=2).status_code == 200
        assert served.chat().status_code == 429


async def test_each_caller_has_limits_of_its_own() -> None:
    """An address; a key, wherever it comes from; all addresses of an IPv6 network together."""
    guarded = Guarded(per_minute=1)
    one, other = Key("one", b"1"), Key("other", b"2")
    assert await guarded.statuses(2, address="10.0.0.1") == [200, 429]
    assert await guarded.statuses(1, address="10.0.0.2") == [200]
    assert await guarded.statuses(1, key=one) == [200]
    assert await guarded.statuses(1, key=one, address="10.0.0.9") == [429]
    assert await guarded.statuses(1, key=other, address="10.0.0.9") == [200]
    assert await guarded.statuses(1, address="10.0.0.9") == [200]
    assert await guarded.statuses(1, address="2001:db8::1") == [200]
    assert await guarded.statuses(1, address="2001:db8::ffff:2") == [429]
    assert await guarded.statuses(1, address="2001:db8:0:1::1") == [200]
    assert await guarded.statuses(1, address="fe80::1%eth0") == [200]


@pytest.mark.parametrize(("own", "expected"), [(None, 2), (5, 5), (0, 20)])
async def test_a_key_s_own_limit_counts_before_the_setting(own: int | None, expected: int) -> None:
    """More, less, or none."""
    guarded = Guarded(per_minute=2)
    key = Key("k", b"k", requests_per_minute=own)
    assert (await guarded.statuses(20, key=key)).count(200) == expected


async def test_a_key_s_limits_stay_what_it_has_used_when_its_file_is_read_again() -> None:
    """Under a new name or with another limit it is still the same key."""
    guarded = Guarded()
    assert await guarded.statuses(3, key=Key("k", b"k", 3)) == [200] * 3
    assert await guarded.statuses(1, key=Key("renamed", b"k", 3)) == [429]


async def test_who_watches_is_not_counted() -> None:
    """/health and /ready are asked often, and cost nothing."""
    guarded = Guarded(per_minute=1)
    assert await guarded.statuses(20, path="/health") == [200] * 20
    assert await guarded.statuses(20, path="/ready") == [200] * 20
    assert await guarded.statuses(2, path="/status") == [200, 429]


async def test_only_so_many_callers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An attacker with many addresses does not fill the memory; who is still limited is forgotten last."""
    monkeypatch.setattr(limits, "MAX_CALLERS", 100)
    guarded = Guarded(per_minute=1)
    for n in range(99):
        await guarded.ask(address=f"10.0.1.{n}")
    guarded.clock.now += 61
    assert await guarded.statuses(1, address="10.9.9.9") == [200]
    for n in range(99):
        await guarded.ask(address=f"10.0.2.{n}")
    assert await guarded.statuses(1, address="10.9.9.9") == [429]
    for n in range(1000):
        await guarded.ask(address=f"10.{n // 250 + 10}.0.{n % 250}")
        assert len(guarded.guard._usages) <= 100


def test_a_caller_is_its_key_or_its_address() -> None:
    """On a unix socket too."""
    assert principal_of({"headers": [], "client": ("1.2.3.4", 5)}).label == "1.2.3.4"
    assert principal_of({"headers": [], "client": None}).label == "unix"
    assert principal_of({"headers": [], "client": ("uid 1000", 0)}).id == "uid 1000"
    scope: Scope = {"headers": [], "client": ("1.2.3.4", 5)}
    name_principal(scope, Key("k", b"d"))
    assert (principal_of(scope).label, principal_of(scope).id) == ("k@1.2.3.4", b"d")


def test_limits_count_for_a_key_whichever_header_it_comes_in(tmp_path: Path) -> None:
    """And for both at once; the answer says what to do."""
    keys = tmp_path / "keys"
    keys.write_text("alpha\nbeta\n")
    keys.chmod(0o600)
    bearer, header = {"authorization": "Bearer alpha"}, {"x-api-key": "alpha"}
    with serving(Scripted(), api_key_file=str(keys), requests_per_minute=4) as served:
        asked = [bearer, header, {**bearer, **header}, {"Authorization": "bearer  alpha"}, header, bearer]
        found = [served.client.get("/v1/models", headers=headers) for headers in asked]
        assert [response.status_code for response in found] == [200] * 4 + [429] * 2
        assert error(found[-1])["code"] == "rate_limit_exceeded"
        assert "4 requests per minute" in error(found[-1])["message"]
        assert int(found[-1].headers["retry-after"]) == 15
        assert served.client.get("/v1/models", headers={"x-api-key": "beta"}).status_code == 200


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as found:
        yield found


USER = {"role": "user", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}


def tools(count: int) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": f"f{n}"}} for n in range(count)]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [USER] * (MAX_MESSAGES + 1)}, "messages"),
        ({"messages": []}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * (MAX_PARTS + 1)}]},
            "messages[0].content",
        ),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [TOOL] * 257}]}, "messages[1].tool_calls"),
        ({"tools": tools(257)}, "tools"),
        ({"n": 129}, "n"),
        ({"n": 0}, "n"),
        ({"n": -1}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": 2**31}, "max_tokens"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": ["x" * 1025]}, "stop[0]"),
        ({"stop": [""]}, "stop[0]"),
        ({"logit_bias": {str(n): 1 for n in range(301)}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1"),
        ({"logit_bias": {"9" * 10: 1}}, "logit_bias." + "9" * 10),
        ({"logit_bias": {"258": 1}}, "logit_bias.258"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"response_format": {"type": "choice", "choices": []}}, "response_format.choices"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_chat_request_may_hold_is_bounded(served: Served, fields: dict[str, Any], param: str) -> None:
    """400, with the field by name."""
    found = served.client.post("/v1/chat/completions", json={"messages": [USER], **fields})
    assert (found.status_code, error(found)["param"]) == (400, param)
    assert len(found.content) < 1000


TOO_LONG = "x" * (INFO.ctx * MAX_TOKEN_CHARS + 1)


@pytest.mark.parametrize(
    ("path", "body", "param", "code"),
    [
        ("/v1/completions", {"prompt": ["x"] * 129}, "prompt", "invalid_value"),
        ("/v1/completions", {"prompt": TOO_LONG}, "prompt", "context_length_exceeded"),
        ("/v1/completions", {"prompt": ["x", TOO_LONG]}, "prompt", "context_length_exceeded"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": TOO_LONG}]}, "messages", "?"),
        ("/v1/completions", {"prompt": [1] * (INFO.ctx + 1)}, "prompt", "context_length_exceeded"),
        (
            "/v1/completions",
            {"prompt": [[1], [1] * 500_000], "echo": True},
            "prompt",
            "context_length_exceeded",
        ),
        ("/v1/embeddings", {"input": [[1] * (INFO.ctx + 1)]}, "input", "context_length_exceeded"),
        ("/v1/embeddings", {"input": ["x"] * 2049}, "input", "invalid_value"),
        ("/v1/embeddings", {"input": ["x", TOO_LONG]}, "input", "context_length_exceeded"),
        ("/tokenize", {"content": "x" * (MAX_LENGTH + 1)}, "content", 400),  # llama-server's form
        ("/detokenize", {"tokens": [1] * (MAX_LENGTH + 1)}, "tokens", 400),
        (
            "/apply-template",
            {"messages": [USER], "tools": [{"type": "function", "function": {"name": "f"}}] * 257},
            "tools",
            400,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_other_requests_may_hold_is_bounded(
    served: Served, path: str, body: dict[str, Any], param: str, code: str | int
) -> None:
    """Told before the worker, which serves others, is asked to count."""
    found = served.client.post(path, json=body)
    assert (found.status_code, error(found)["param"]) == (400, param)
    assert code in ("?", error(found)["code"])
    assert len(found.content) < 1000
    if error(found)["code"] == "context_length_exceeded":
        assert error(found)["message"].startswith(
            f"This model's maximum context length is {INFO.ctx} tokens. "
        )


def test_what_is_heavy_but_usual_is_answered(served: Served) -> None:
    """A long conversation with calls, a long prompt, thousands of texts to embed."""
    call = {"type": "function", "id": "a", "function": {"name": "f", "arguments": '{"a": [1, 2]}'}}
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        {"role": "assistant", "content": "y", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "z"},
        {"role": "assistant", "content": "w"},
    ]
    body = {"messages": [*turns * 1000, USER]}
    assert served.client.post("/v1/chat/completions", json=body).status_code == 200
    assert served.chat("a[0], {b}: " * 100_000).status_code == 200
    tokens = [[1, 2, 3] * 80] * 2048
    assert served.client.post("/v1/embeddings", json={"input": tokens}).status_code == 200


def test_the_bounds_are_within_reach(served: Served) -> None:
    """What is allowed is served, and takes no time worth telling."""
    assert served.chat(stop=["x" * 1024] * 16, logit_bias={str(n): 0 for n in range(258)}).status_code == 200
    assert served.client.post("/tokenize", json={"content": "x" * MAX_LENGTH}).status_code == 200
