"""A caller whose requests crash workers again and again is held off, and nobody else."""

from __future__ import annotations

import asyncio

import pytest

from edgeinfer.backends.supervision.crash_holds import HOLD_SECONDS, Activity, CrashHolds
from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.errors import RateLimited, WorkerDied
from edgeinfer.inference.types import Span
from tests.support.llama_client import SLOW, supervised, text
from tests.support.worker_faults import faulty

POISON = "\x07"
TOKEN = ord(POISON)
EMBEDDING = Activity("mallory", "embedding")


class Clock:
    now = 5000.0

    def __call__(self) -> float:
        return self.now


def request(activity: Activity = EMBEDDING) -> InFlightRequest:
    return InFlightRequest(activity=activity)


def held(quarantine: CrashQuarantine, activity: Activity) -> bool:
    try:
        quarantine.holds.check(activity)
    except RateLimited:
        return True
    return False


def test_caller_is_held_off_after_two_requests_that_were_to_blame() -> None:
    """For that kind of request; others are not affected."""
    quarantine = CrashQuarantine()
    for _ in range(2):
        assert not held(quarantine, EMBEDDING)
        poison = request()
        for _ in range(2):
            quarantine.on_crash([poison], "SIGSEGV")
        assert poison.blamed_exit
        quarantine.abandon(poison)
        quarantine.release(poison)
    assert held(quarantine, EMBEDDING)
    others = [Activity("mallory", "tokenizing"), Activity("alice", "embedding")]
    assert [False, False] == [held(quarantine, other) for other in others]


def test_caller_that_leaves_after_each_crash_is_held_off_too() -> None:
    """Otherwise no request would ever be to blame."""
    quarantine = CrashQuarantine()
    for _ in range(CrashHolds.MAX_CRASHES):
        assert not held(quarantine, EMBEDDING)
        poison = request()
        quarantine.on_crash([poison], "SIGSEGV")
        quarantine.abandon(poison)
        quarantine.release(poison)
    assert held(quarantine, EMBEDDING)


def test_caller_whose_requests_ran_beside_is_not_held_off() -> None:
    """However often it happens, and even if it gives up waiting."""
    quarantine, innocent = CrashQuarantine(), Activity("alice", "embedding")
    for _ in range(10):
        poison, beside = request(), request(innocent)
        quarantine.on_crash([poison, beside], "SIGSEGV")
        quarantine.on_crash([poison, beside], "SIGSEGV")
        assert quarantine.admit(poison)
        quarantine.on_crash([poison], "SIGSEGV")
        assert quarantine.admit(poison) or quarantine.admit(beside)
        quarantine.abandon(beside)
        quarantine.release(beside)
        quarantine.release(poison)
    assert not held(quarantine, innocent)


def test_progress_between_crashes_clears_a_request() -> None:
    """Workers are also killed from outside."""
    quarantine = CrashQuarantine()
    for _ in range(20):
        other = request()
        quarantine.on_crash([other], "SIGKILL")
        quarantine.release(other)
        quarantine.abandon(other)
    assert not held(quarantine, EMBEDDING)


def test_hold_ends() -> None:
    """The error says when, and what is refused."""
    clock = Clock()
    holds = CrashHolds(clock)
    holds.add(EMBEDDING, 4)
    clock.now += 100
    with pytest.raises(
        RateLimited, match=r"crashed the model's process 4 times: embedding is refused"
    ) as caught:
        holds.check(EMBEDDING)
    assert HOLD_SECONDS - 100 == caught.value.retry_after
    clock.now += HOLD_SECONDS - 100
    holds.check(EMBEDDING)


def test_few_callers_are_remembered() -> None:
    """Those who crashed workers last."""
    holds = CrashHolds()
    for number in range(2 * CrashHolds.MAX_ACTIVITIES):
        holds.add(Activity(f"{number}", "embedding"), 4)
    assert CrashHolds.MAX_ACTIVITIES == len(holds._crashes)
    holds.check(Activity("0", "embedding"))
    with pytest.raises(RateLimited):
        holds.check(Activity(f"{number}", "embedding"))


async def test_client_refuses_what_the_caller_has_crashed_workers_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another caller's requests are answered, those that waited beside it too, and the caller's of another kind."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "SIGSEGV"})
    async with supervised(SLOW) as client:
        await client.ready()
        for _ in range(2):
            beside = asyncio.create_task(text(client, "beside it", caller="alice"))
            with pytest.raises(WorkerDied):
                await text(client, f"a {POISON} in it", caller="mallory")
            assert 3 == len(await beside)
        restarts = client.health.restarts
        with pytest.raises(RateLimited, match="generating text is refused"):
            await text(client, f"a {POISON} in it", caller="mallory")
        assert restarts == client.health.restarts
        assert 3 == len(await text(client, caller="alice"))
        assert [120] == (await client.tokenize([Span("x")], caller="mallory")).ids
