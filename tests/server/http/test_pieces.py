"""Large bodies reach the connection in pieces, whole and in order."""

from __future__ import annotations

import pytest
from starlette.types import Message

from edgeinfer.server.http.pieces import PIECE, in_pieces


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 2 * PIECE, 5 * PIECE - 1])
@pytest.mark.parametrize("more", [False, True])
async def test_a_body_is_the_sum_of_its_pieces(size: int, more: bool) -> None:
    body = bytes(n % 251 for n in range(size))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await in_pieces(send)({"type": "http.response.body", "body": body, "more_body": more})
    assert b"".join(message["body"] for message in sent) == body
    assert [message["more_body"] for message in sent] == [True] * (len(sent) - 1) + [more]
    assert all(len(message["body"]) <= PIECE for message in sent)
    assert len(sent) == max(1, -(-size // PIECE))


async def test_other_messages_pass_as_they_are() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    start: Message = {"type": "http.response.start", "status": 200, "headers": []}
    await in_pieces(send)(start)
    assert sent == [start]
