"""Merges several generations into one stream of deltas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from edgeinfer.inference.output import Delta

Deltas = AsyncGenerator[Delta, None]


def merge(streams: Sequence[Deltas], offsets: Sequence[int]) -> Deltas:
    """Deltas of all `streams` as they come; each stream's offset is added to the indices of its answers.

    The first error of any stream is raised, and ends the others. Closing this closes them all.
    """
    return streams[0] if len(streams) == 1 and not offsets[0] else _merge(streams, offsets)


async def _merge(streams: Sequence[Deltas], offsets: Sequence[int]) -> Deltas:
    queue: asyncio.Queue[Delta | Exception | None] = asyncio.Queue()
    pumps = [asyncio.create_task(_pump(s, at, queue)) for s, at in zip(streams, offsets, strict=True)]
    running = len(pumps)
    try:
        while running:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(stream: Deltas, offset: int, queue: asyncio.Queue[Delta | Exception | None]) -> None:
    try:
        async with aclosing(stream):
            async for delta in stream:
                queue.put_nowait(msgspec.structs.replace(delta, index=offset + delta.index))
        queue.put_nowait(None)
    except Exception as e:
        queue.put_nowait(e)
