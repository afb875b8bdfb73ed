"""The daemon sends what it has at once."""

from __future__ import annotations

import asyncio
import socket

import pytest

from edgeinfer.server.http.sockets import bind
from edgeinfer.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_response_does_not_wait_for_an_ack(host: str) -> None:
    """Headers and body are two writes: Nagle's algorithm would hold the second one back for 40 ms."""
    delays: list[int] = []
    accepted = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        delays.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()
        accepted.set()

    for sock in bind(Settings(host=host, port=0)):
        server = await asyncio.start_server(accept, sock=sock)
        _, writer = await asyncio.open_connection(*sock.getsockname()[:2])
        await asyncio.wait_for(accepted.wait(), 10)
        accepted.clear()
        writer.close()
        server.close()
        await server.wait_closed()
    assert all(delays)
    assert delays
