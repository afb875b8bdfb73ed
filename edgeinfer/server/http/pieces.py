"""Sends large bodies piece by piece, each when the client has read enough of what came before."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.types import Message, Send

PIECE = 32768
"""Bytes that are given to a connection at a time; with TLS it holds them twice."""


def in_pieces(send: Send) -> Send:
    """Send as `send` does, which waits while a connection holds too much that its client has not read."""

    async def send_pieces(message: Message) -> None:
        if len(message.get("body", b"")) <= PIECE:
            await send(message)
            return
        for piece in _pieces(message):
            await send(piece)

    return send_pieces


def _pieces(message: Message) -> Iterator[Message]:
    body = memoryview(message["body"])
    last = (len(body) - 1) // PIECE * PIECE
    for start in range(0, last, PIECE):
        yield {**message, "body": bytes(body[start : start + PIECE]), "more_body": True}
    yield {**message, "body": bytes(body[last:])}
