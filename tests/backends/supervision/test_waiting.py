"""Waiting ends when it should, and cancelling it loses nothing."""

from __future__ import annotations

import asyncio

import pytest

from edgeinfer.backends.supervision.waiting import finish, wait_with_timeout


async def test_wait_ends_with_the_event_or_the_time() -> None:
    """The result says which."""
    event = asyncio.Event()
    assert not await wait_with_timeout(0.01, event.wait())
    event.set()
    assert await wait_with_timeout(60, event.wait())
    assert await wait_with_timeout(None, event.wait())


async def test_wait_raises_what_the_event_raises() -> None:
    """It is not taken for a timeout."""

    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wait_with_timeout(60, fail())


async def test_work_is_finished_before_a_cancellation_takes_effect() -> None:
    """The caller may rely on it: no process is left, say."""
    done = list[str]()

    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("work")

    task = asyncio.create_task(finish(work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["work"] == done
