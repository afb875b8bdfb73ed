"""Asks a server that speaks OpenAI's API, and times each part of its answers.

It writes to a plain socket and reads JSON only once an answer has ended: on a small machine, a client library would
compete with the server for the cores.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from edgeinfer.errors import EdgeinferError, NotReady

CHAT = "/v1/chat/completions"

CONNECT_LIMIT, ANSWER_LIMIT = 5.0, 1800.0
"""Seconds."""

MAX_BODY = 64 << 20
"""Bytes of an answer. No benchmark's has that many."""

MAX_REASON = 200
"""Characters of a server's message that are shown."""

FAULTY_REQUEST = (400, 422)

Json = dict[str, Any]


class Refused(Exception):
    """The server does not do what it was asked to do. `answered` is the status of HTTP, 200 if it has begun to.

    A finding of the measurement rather than an error of ours, so it has no code.
    """

    def __init__(self, message: str, answered: int = 200) -> None:
        super().__init__(message)
        self.message = message
        self.answered = answered


class Stream(NamedTuple):
    """One answer.

    Attributes:
        times: seconds from the start of the request to each part of the text, or of the thoughts before it.
        text: the answer, without thoughts.
        prompt_tokens, tokens: as the server counts them. Without that: words of the prompt, and parts.
        counted: the server has counted.
    """

    times: list[float]
    text: str
    prompt_tokens: int
    tokens: int
    counted: bool
    finish_reason: str | None
    model: str | None

    @property
    def rate(self) -> float:
        """Tokens per second once it has begun. Raises Refused if it came in one piece."""
        if self.tokens < 2 or self.times[-1] <= self.times[0]:
            raise Refused("the answer came in one piece")
        return (self.tokens - 1) / (self.times[-1] - self.times[0])

    @property
    def gaps(self) -> list[float]:
        """Seconds between its parts. Raises Refused if it came in one piece."""
        if len(self.times) < 2:
            raise Refused("the answer came in one piece")
        return [after - before for before, after in pairwise(self.times)]


class OpenAIServer:
    """Sends requests, each over a connection of its own.

    Attributes:
        optional: fields that go with each request. `prepare` leaves out those that the server does not take.
        counts: the server counts tokens, as far as that is known.
    """

    def __init__(
        self,
        url: str,
        *,
        uds: str | None = None,
        api_key: str | None = None,
        model: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`model`: without it, the server's default answers."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self.url = uds or url
        self.model = model
        self.optional: Json = {
            "ignore_eos": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
        }
        self.counts = True
        self._limit = "max_tokens"
        self._uds = uds
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or (443 if secure else 80)
        self._tls = (tls or ssl.create_default_context()) if secure else None
        key = f"Authorization: Bearer {api_key}\r\n" if api_key else ""
        self._head = (
            f"POST {parts.path.rstrip('/')}{CHAT} HTTP/1.1\r\nHost: {parts.netloc.rpartition('@')[2]}\r\n"
            f"Connection: close\r\n{key}Content-Type: application/json\r\nContent-Length: "
        )

    async def prepare(self) -> Stream:
        """Ask for a few tokens, and learn which optional fields the server takes.

        Raises:
            Refused: it answers no request.
            EdgeinferError: nobody listens there, or nobody who speaks OpenAI's API.
        """
        try:
            stream = await self.ask("hello", 4)
        except Refused as e:
            if e.answered not in FAULTY_REQUEST or not self._simplify(e.message):
                raise
            try:
                return await self.prepare()
            except Refused:
                raise e from None  # it was not the field that was left out
        self.counts = stream.counted
        return stream

    def _simplify(self, reason: str) -> bool:
        """Leave out what the server may have refused; -> whether something was left to leave out."""
        if "max_completion_tokens" in reason and self._limit == "max_tokens":
            self._limit = "max_completion_tokens"
            return True
        if not self.optional:
            return False
        name = next((name for name in self.optional if name in reason), next(iter(self.optional)))
        del self.optional[name]
        return True

    async def ask(
        self, prompt: str, tokens: int, system: str = "", form: Json | None = None, **fields: Any
    ) -> Stream:
        """Ask one question. `form`: the JSON schema of the answer."""
        messages = [{"role": "system", "content": system}] if system else []
        return await self.converse([*messages, {"role": "user", "content": prompt}], tokens, form, **fields)

    async def converse(
        self, messages: list[Json], tokens: int, form: Json | None = None, **fields: Any
    ) -> Stream:
        """Ask for the next turn of a conversation.

        Raises:
            Refused: the server does not do this.
            EdgeinferError: the connection fails, or what comes is no answer of OpenAI's API.
        """
        asked = {"messages": messages, self._limit: tokens, "stream": True, **self.optional, **fields}
        if self.model is not None:
            asked["model"] = self.model
        if form is not None:
            schema = {"name": "answer", "strict": True, "schema": form}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
            if "ignore_eos" in asked:
                asked["ignore_eos"] = False
        words = sum(len(message["content"].split()) for message in messages)
        try:
            return await asyncio.wait_for(self._exchange(json.dumps(asked).encode(), words), ANSWER_LIMIT)
        except asyncio.TimeoutError:
            raise EdgeinferError(f"{self.url} did not answer within {ANSWER_LIMIT:g} s") from None

    async def _exchange(self, body: bytes, words: int) -> Stream:
        started = time.perf_counter()
        reader, writer = await self._connect()
        try:
            writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            status, headers = await _read_head(reader)
            arrived = [
                (time.perf_counter() - started, line) async for line in _lines(_blocks(reader, headers))
            ]
        except (OSError, asyncio.IncompleteReadError, ValueError) as e:
            raise EdgeinferError(
                f"{self.url} does not answer as HTTP does: {e}", hint="is this the address of a model server?"
            ) from e
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        if status != 200:
            raise Refused(_reason(status, b"\n".join(line for _, line in arrived)), status)
        return self._stream(arrived, words)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opening = (
            asyncio.open_unix_connection(self._uds)
            if self._uds
            else asyncio.open_connection(self._host, self._port, ssl=self._tls)
        )
        try:
            return await asyncio.wait_for(opening, CONNECT_LIMIT)
        except ssl.SSLError as e:
            raise EdgeinferError(f"{self.url}: {e}") from e
        except (OSError, asyncio.TimeoutError) as e:
            raise NotReady(
                f"no server answers at {self.url}", hint="is it running, and is this its address?"
            ) from e

    def _stream(self, arrived: list[tuple[float, bytes]], words: int) -> Stream:
        """Read what has arrived, each line with its time."""
        times: list[float] = []
        text: list[str] = []
        usage: Json = {}
        finish_reason = model = None
        events = [(at, event) for at, line in arrived if (event := _event(line)) is not None]
        if not events:
            raise EdgeinferError(
                f"{self.url} does not speak OpenAI's API: it answered without a stream of events",
                hint="is this the address of a model server?",
            )
        for at, event in events:
            if error := event.get("error"):
                raise Refused(_message(error) or "it broke the answer off")
            usage = _dict(event.get("usage")) or usage
            model = event.get("model") or model
            choice = _first(event.get("choices"))
            finish_reason = choice.get("finish_reason") or finish_reason
            delta = _dict(choice.get("delta"))
            said = delta.get("content")
            if said or delta.get("reasoning_content") or delta.get("reasoning"):
                times.append(at)
                text.append(str(said or ""))
        if not times:
            raise Refused("the answer has no text")
        tokens, prompt = usage.get("completion_tokens"), usage.get("prompt_tokens")
        counted = isinstance(tokens, int) and isinstance(prompt, int)
        return Stream(
            times,
            "".join(text),
            prompt if isinstance(prompt, int) else words,
            tokens if isinstance(tokens, int) else len(times),
            counted,
            finish_reason,
            model if isinstance(model, str) else None,
        )


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[bytes, bytes]]:
    """Return the status and the headers. Raises ValueError if it is not HTTP."""
    line = await reader.readline()
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise ValueError(f"it begins with {line[:40]!r}" if line else "the connection ended")
    headers = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip().lower()
        if len(headers) > 200:
            raise ValueError("too many headers")
    return int(rest[:3]), headers


async def _blocks(reader: asyncio.StreamReader, headers: dict[bytes, bytes]) -> AsyncIterator[bytes]:
    """Yield the body as it comes, without the sizes of its chunks."""
    left = MAX_BODY
    if b"chunked" in headers.get(b"transfer-encoding", b""):
        while size := int((await reader.readline()).split(b";")[0], 16):
            left -= size
            if left < 0:
                break
            yield await reader.readexactly(size)
            await reader.readline()
        return
    left = min(left, int(headers.get(b"content-length", left)))
    while left > 0 and (block := await reader.read(min(left, 1 << 16))):
        left -= len(block)
        yield block


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


def _event(line: bytes) -> Json | None:
    """Return the JSON of an event's line, None for other lines."""
    if not line.startswith(b"data:"):
        return None
    try:
        event = json.loads(line.removeprefix(b"data:"))
    except (ValueError, RecursionError):
        return None  # [DONE] is one
    return event if isinstance(event, dict) else None


def _first(choices: object) -> Json:
    return _dict(choices[0]) if isinstance(choices, list) and choices else {}


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _message(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(message or "").split())[:MAX_REASON]


def _reason(status: int, body: bytes) -> str:
    """Return the status and the message of an answer that is an error."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        text = ""  # somebody's page in HTML
    else:
        found = _dict(data)
        text = _message(found.get("error") or found.get("detail") or found.get("message"))
    return f"{status} {text}".strip()
