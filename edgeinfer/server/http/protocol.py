"""uvicorn's HTTP protocol with timeouts for heads and slow readers, and bounds on what a connection may hold."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import httptools
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from edgeinfer.errors import EdgeinferError, HeadersTooLarge, InvalidRequest
from edgeinfer.server.http.connections import READ_SIZE, OpenConnections
from edgeinfer.server.http.half_close import HalfClosedConnection
from edgeinfer.server.http.head import check_host, to_origin_form
from edgeinfer.server.http.parse_queue import MAX_SLICE, ParseQueue
from edgeinfer.server.http.pieces import in_pieces

RenderError = Callable[[EdgeinferError], bytes]

MAX_HEAD = 16384
"""Bytes of a request's target and headers."""

WRITE_SIZE = 32768
"""Bytes of a response that wait for the client to read; with more, the rest of the response is not made yet."""

HEAD_END = b"\r\n\r\n"


class TimeoutProtocol(HttpToolsProtocol, asyncio.BufferedProtocol):
    """Closes connections that send heads slowly (slowloris), keep sending after their response, or do not read.

    Requests are parsed one after the other: the next waits, as bytes, for the response before it. BodyLimitMiddleware
    times bodies.
    """

    HEAD_TIMEOUT: ClassVar[float] = 20.0
    """Seconds from the connection, or from a later request's first byte, to the end of the request's head."""

    LINGER_TIMEOUT: ClassVar[float] = 5.0
    """Seconds for the rest of a request whose response came before its end."""

    STALL_TIMEOUT: ClassVar[float] = 30.0
    """Seconds in which a reader must take MIN_PROGRESS bytes of its response. Otherwise it is disconnected."""

    MIN_PROGRESS: ClassVar[int] = 16384

    def __init__(
        self,
        *args: Any,
        connections: OpenConnections,
        parse_queue: ParseQueue,
        render_error: RenderError,
        due: float,
        **more: Any,
    ) -> None:
        """`connections` and `parse_queue` are those of the server; the first head is `due` at this time."""
        self._body = bytearray()
        # The parser calls this for every chunk; a method in Python would take ten times as long.
        self.on_body = self._body.extend  # type: ignore[method-assign, assignment]
        super().__init__(*args, **more)
        self.app = functools.partial(self._answer, self.app)
        self._connections = connections
        self._render_error = render_error
        self._due = due
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._parse_queue = parse_queue
        self._unparsed = bytearray()
        self._is_full = False
        self._running: Any = None
        """The request that is being answered; `cycle` is the last one parsed."""
        self._in_head = False
        self._in_body = False
        self._head_size = 0
        self._idle_bytes = 0
        """Bytes since the parser last completed anything, such as a header."""
        self._error: EdgeinferError | None = None
        self._half_closed: HalfClosedConnection | None = None
        """Set once the client has ended its side."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.client = self.client or _peer(transport)
        if hasattr(transport, "set_read_buffer_limits"):  # TLS: it would decrypt 256 KiB ahead
            transport.set_read_buffer_limits(READ_SIZE)
        transport.set_write_buffer_limits(WRITE_SIZE)  # TLS would hold 512 KiB back
        self._connections.idle(transport)
        self._expect(self._due - self.loop.time())

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._error:
            return  # the rest of something that was refused
        has_sent_more = bool(self._unparsed) or self._awaits_response()
        self._unparsed += self._connections.buffer[:nbytes]
        if len(self._unparsed) >= READ_SIZE:
            self._is_full = True
            self.transport.pause_reading()
        self._parse_queue.add(self, has_sent_more=has_sent_more)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a client that will send no more have the answers to what it has sent."""
        has_tls = self.transport.get_extra_info("sslcontext") is not None  # it cannot end one side only
        if has_tls or self._error or not (self._unparsed or self._awaits_response()):
            return False
        self._half_closed = HalfClosedConnection(self.transport, self._may_probe)
        return True

    def _may_probe(self) -> bool:
        """The client waits for a response that has not begun, and takes an interim one."""
        waits = self._awaits_response() and not self._running.response_started
        return waits and self._running.scope["http_version"] == "1.1"

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self.transport)
        self._unparsed.clear()
        self._disarm()
        if self._half_closed:
            self._half_closed.close()
        self._unset_keepalive_if_required()
        if self._stall is not None:
            self._stall.cancel()
            self._connections.freed_memory.return_soon()
        self.pipeline.clear()
        if self._running is not None:
            _disconnect(self._running)
        super().connection_lost(exc)

    # Parsing

    def parse_slice(self) -> bool:
        """Parse up to MAX_SLICE bytes, at most to the end of a head; True if there are more."""
        if not self._can_parse():
            return False
        end = self._unparsed.find(HEAD_END, 0, MAX_SLICE)
        data = bytes(self._unparsed[: end + len(HEAD_END) if end >= 0 else MAX_SLICE])
        del self._unparsed[: len(data)]
        if self._is_full and len(self._unparsed) < READ_SIZE:
            self._is_full = False
            self.transport.resume_reading()
        self._idle_bytes += len(data)
        self._feed(data)
        if self._idle_bytes > MAX_HEAD:
            self._refuse(HeadersTooLarge("the request's head, a chunk's or its trailer is too large"))
        self._watch()
        if self._half_closed and not self._unparsed and not self._awaits_response():
            self.transport.close()  # the rest of this request will not come
        return self._can_parse()

    def _can_parse(self) -> bool:
        return bool(self._unparsed) and not self._error and not self._awaits_response()

    def _awaits_response(self) -> bool:
        return not self._in_head and not self._in_body and self._is_busy()

    def _is_busy(self) -> bool:
        cycle: Any = self.cycle  # None before the first request, although its type does not say so
        return cycle is not None and not cycle.response_complete

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as e:
            self._refuse(self._error or InvalidRequest(f"this is not a valid HTTP request: {e}"))
        else:
            self._pass_body_on()

    def _pass_body_on(self) -> None:
        if self._body:
            self._idle_bytes = 0
            super().on_body(bytes(self._body))
            self._body.clear()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse the head again without its Upgrade, such as h2c from a JDK: httptools would leave the body out."""
        version = self.parser.get_http_version()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version.encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        self._unparsed[:0] = b"\r\n".join(lines) + HEAD_END + rest
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_message_begin(self) -> None:
        self._unset_keepalive_if_required()
        self._in_head = True
        self._head_size = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if self._in_head:  # not in a trailer: the request has been admitted by its head
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._fail(InvalidRequest("CONNECT is for proxies"))
            return
        try:
            check_host(self.parser.get_http_version(), self.headers)
            self.url = to_origin_form(self.url, self.headers)
        except InvalidRequest as e:
            self._fail(e)
        self._in_head, self._in_body = False, True
        waits = self._is_busy()
        super().on_headers_complete()
        if not waits:
            self._running = self.cycle
        self._parse_queue.started += 1

    def on_message_complete(self) -> None:
        if self._in_body:  # else it is an upgrade
            self._pass_body_on()
            self._in_body = False
            super().on_message_complete()

    def _count_head(self, size: int) -> None:
        self._idle_bytes = 0
        self._head_size += size
        if self._head_size > MAX_HEAD:
            self._fail(HeadersTooLarge("the request's head is too large"))

    def _fail(self, error: EdgeinferError) -> None:
        """End the parser from within one of its callbacks."""
        self._error = error
        raise error

    # Responses

    async def _answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; uvicorn would log its cancellation, when the daemon stops, as an error."""
        cycle = self._running

        def send_if_open(message: Message) -> Awaitable[None]:
            if self.transport.is_closing():
                # `connection_lost` comes later, and asyncio logs each try until then.
                _disconnect(cycle)
            return send(message)

        try:
            await app(scope, receive, in_pieces(send_if_open))
        except asyncio.CancelledError:
            _disconnect(cycle)
            self.transport.abort()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._error:
            self._refuse(self._error)
        elif self._unparsed:
            self._parse_queue.add(self, has_sent_more=True)
        elif self._half_closed and not self._is_busy():
            self.transport.close()
        self._watch()

    def _refuse(self, error: EdgeinferError) -> None:
        """Respond to something that is not a request, after the requests before it, and close."""
        self._error = error
        self._unparsed.clear()
        self._body.clear()
        if self.transport.is_closing():
            return
        if self.pipeline:  # it is the body of a request that has not begun
            self.pipeline.clear()
            self.cycle, self._in_body = self._running, False
        if self._is_busy():
            if not self._in_body:
                return  # on_response_complete comes back to this
            _disconnect(self.cycle)
        if not self._is_busy() or not self.cycle.response_started:
            self._write_error(error)
        self._in_head = self._in_body = False
        if self.transport.can_write_eof():
            with contextlib.suppress(OSError):  # the other side has reset it
                self.transport.write_eof()  # to close at once would reset it before the response is read
            self._disarm()
            self._expect(self.LINGER_TIMEOUT)
        else:
            self.transport.close()

    def _write_error(self, error: EdgeinferError) -> None:
        body = self._render_error(error)
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(
            body
        )
        self.transport.write(STATUS_LINE[error.status] + head + body)

    # Timeouts

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()

    def _watch(self) -> None:
        """Start or stop the timeout for what the client must send: a head, or the rest of an unread body."""
        if self._error:
            return
        if self._is_busy():
            self._connections.busy(self.transport)
            self._disarm()
            return
        self._connections.idle(self.transport)
        if self._in_body:
            self._expect(self.LINGER_TIMEOUT)
        elif self._in_head:
            self._expect(self.HEAD_TIMEOUT)
        elif self.cycle is not None:
            self._disarm()  # uvicorn closes it if the next request does not come

    def _expect(self, seconds: float) -> None:
        if self._deadline is None:
            before = self.transport.get_write_buffer_size()
            self._deadline = self.loop.call_later(seconds, self._expire, before)

    def _expire(self, before: int) -> None:
        self._deadline = None
        if self.transport.is_closing() and self.transport.get_write_buffer_size() >= before:
            self.transport.abort()  # the client does not read the end of its response either
        else:
            self.transport.close()
            self._expect(self.LINGER_TIMEOUT)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _await_reader(self, before: int) -> None:
        self._stall = self.loop.call_later(self.STALL_TIMEOUT, self._judge_reader, before)

    def _judge_reader(self, before: int) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread > before - self.MIN_PROGRESS:
            self.transport.abort()
        else:
            self._await_reader(unread)


def _disconnect(cycle: Any) -> None:
    """Tell the request's handler that its client has gone, or might as well have."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def _peer(transport: asyncio.Transport) -> tuple[str, int] | None:
    """The user at the other end of a unix socket, as "uid 1000"; None for other sockets."""
    peer: Any = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)  # Linux
    if option is None or peer is None or peer.family != socket.AF_UNIX:
        return None
    _pid, uid, _gid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return f"uid {uid}", 0
