"""Sends a file that is open already, so that nothing else can take its place while it is checked and sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from typing import BinaryIO, ClassVar

from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

MIN_CHUNK, MAX_CHUNK = 1 << 13, 1 << 17
"""Bytes of a file that are read at a time."""

MAX_CHUNKS = 1 << 21
"""Bytes that all downloads together may read at a time, unless there are more than MIN_CHUNK for each."""


logger = logging.getLogger(__name__)


class ShortFile(Exception):
    """A file ends before what was announced of it."""


class OpenFileResponse(FileResponse):
    """Sends `file` and closes it; the more are sent at the same time, the less memory each takes."""

    _active: ClassVar[int] = 0

    def __init__(
        self, file: BinaryIO, name: str, headers: Mapping[str, str], starts: asyncio.Semaphore
    ) -> None:
        """`starts` limits how many begin at the same time."""
        self._file = file
        self._starts = starts
        super().__init__(
            f"/dev/fd/{file.fileno()}",
            headers={"X-Content-Type-Options": "nosniff", **headers},
            media_type="application/octet-stream",
            filename=name,
            stat_result=os.fstat(file.fileno()),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        OpenFileResponse._active += 1
        self.chunk_size = max(MIN_CHUNK, min(MAX_CHUNK, MAX_CHUNKS // OpenFileResponse._active))
        try:
            await self._send_file(scope, receive, send)
        finally:
            OpenFileResponse._active -= 1
            self._file.close()

    async def _send_file(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.AsyncExitStack() as start:
            await start.enter_async_context(self._starts)

            missing = 0

            async def begin(message: Message) -> None:
                nonlocal missing
                if message["type"] == "http.response.start":
                    missing = _content_length(message)
                elif message["type"] == "http.response.body":
                    missing -= len(message.get("body", b""))
                    if missing > 0 and not message.get("more_body") and scope["method"] != "HEAD":
                        raise ShortFile
                await send(message)
                if message["type"] == "http.response.body":
                    await start.aclose()  # from here on it goes as fast as the client reads

            try:
                await super().__call__(scope, receive, begin)
            except ShortFile:
                # The server closes the connection, as the answer is not complete; clients then try again.
                logger.warning("%s has become shorter while it was sent", self.filename)


def _content_length(message: Message) -> int:
    return next((int(value) for name, value in message["headers"] if name == b"content-length"), 0)
