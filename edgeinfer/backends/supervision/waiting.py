"""Waits that keep their promise when they are cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any


async def wait_with_timeout(seconds: float | None, event: Awaitable[object]) -> bool:
    """Wait for `event`, for no longer than `seconds` (None: for ever); -> True if it came. Raises what it raises.

    asyncio.wait_for, before Python 3.12, forgets that its caller was cancelled if `event` comes in that moment.
    """
    task = asyncio.ensure_future(event)
    try:
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            task.result()
        return task.done()
    finally:
        task.cancel()


async def finish(work: Coroutine[Any, Any, object]) -> None:
    """Run `work` to its end. A cancellation takes effect only after that."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
