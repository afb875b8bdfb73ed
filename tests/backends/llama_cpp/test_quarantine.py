"""A request that kills every worker it comes to is found, and fails alone."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.in_flight import InFlightRequest, ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import Cancel, Generate
from edgeinfer.backends.llama_cpp.quarantine import CrashQuarantine
from edgeinfer.errors import NotReady, WorkerDied
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.engine import plain
from tests.support.llama_client import SLOW, eventually, generate, kill, supervised, text
from tests.support.worker_faults import faulty

POISON = "\x07"
TOKEN = ord(POISON)
PARAMS = SamplingParams(max_tokens=60, ignore_eos=True, seed=3, temperature=0.8)


def expected(prompt: str) -> str:
    return plain(prompt, ctx=2048, seed=3, temperature=0.8, max_tokens=60, ignore_eos=True)


def any_request() -> InFlightRequest:
    return InFlightRequest(Cancel)


def restarted(client: LlamaClient, times: int) -> bool:
    return client.health.restarts == times


async def given_up(task: asyncio.Task[str]) -> WorkerDied:
    with pytest.raises(WorkerDied) as error:
        await task
    return error.value


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "SIGKILL"])
async def test_of_many_requests_the_one_that_kills_is_failed_and_the_others_go_on(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It kills in its prompt. Four workers go, and every other answer is complete and the undisturbed one."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": how})
    async with supervised(SLOW) as client:
        await client.ready()
        prompts = [f"client {i}" for i in range(12)]  # more than there are places
        others = [asyncio.create_task(text(client, p, PARAMS)) for p in prompts]
        await eventually(lambda: client.health.stats.completion_tokens_total)
        poison = asyncio.create_task(text(client, f"a {POISON} in it", PARAMS))
        error = await given_up(poison)
        assert how in error.message
        assert [expected(p) for p in prompts] == await asyncio.gather(*others)
        assert client.health.restarts <= 4
        assert (0, "ready") == (client.active, client.health.state)


async def test_one_that_kills_late_is_found_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first part is told before."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 30, "how": "SIGSEGV"})
    async with supervised(SLOW) as client:
        await client.ready()
        other = asyncio.create_task(text(client, "other", PARAMS))
        found = [""]

        async def ask() -> str:
            async for delta in generate(client, f"a {POISON} in it", PARAMS):
                found[0] += delta.text
            return ""

        assert "SIGSEGV" in (await given_up(asyncio.create_task(ask()))).message
        assert 30 - len("a x in it") + 1 == len(found[0])
        assert expected("other") == await other
        assert client.health.restarts <= 5


@pytest.mark.slow
async def test_one_that_hangs_every_worker_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hang is a death like any other."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "hang"})
    async with supervised(SLOW, hang_timeout=1.0) as client:
        await client.ready()
        poison = asyncio.create_task(text(client, f"a {POISON} in it", PARAMS))
        other = asyncio.create_task(text(client, "other", PARAMS))
        assert "it hung" in (await given_up(poison)).message
        assert expected("other") == await other


@pytest.mark.slow
async def test_two_that_kill_are_both_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "SIGSEGV"})
    async with supervised(SLOW) as client:
        await client.ready()
        poisons = [asyncio.create_task(text(client, f"{i} {POISON}", PARAMS)) for i in range(2)]
        other = asyncio.create_task(text(client, "other", PARAMS))
        for poison in poisons:
            await given_up(poison)
        assert expected("other") == await other
        assert 3 == len(await text(client))


async def test_a_real_worker_is_saved_from_a_poison(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With llama.cpp underneath."""
    faulty(monkeypatch, poison={"token": 7, "position": 0, "how": "SIGSEGV"})
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=4, cells=1280, batch=128, threads=1)
    async with supervised(real) as client:
        await client.ready()
        greedy = SamplingParams(temperature=0.0, max_tokens=100, ignore_eos=True)
        undisturbed = await text(client, "Hello", greedy)
        other = asyncio.create_task(text(client, "Hello", greedy))

        async def ask() -> str:
            deltas = client.generate([5, 6, 7], greedy, add_bos=False)
            return "".join([delta.text async for delta in deltas])

        await given_up(asyncio.create_task(ask()))
        assert undisturbed == await other


async def test_who_is_killed_from_outside_while_it_makes_progress_is_never_blamed() -> None:
    """However often that happens."""
    async with supervised(SLOW) as client:
        found = ""
        async for delta in generate(client, "hello", PARAMS):
            found += delta.text
            if len(found) % 10 == 5:
                kill(client)
        assert expected("hello") == found
        assert 6 == client.health.restarts == client.health.resumed


async def test_new_requests_wait_for_a_trial_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told to come again."""
    slower = msgspec.structs.replace(SLOW, model="fake:10")
    async with supervised(slower, wait=0.5) as client:
        await eventually(lambda: client.health.state == "ready")
        suspect = asyncio.create_task(text(client, "x" * 400))
        other = asyncio.create_task(text(client, "y"))
        await eventually(lambda: client.active == 2)
        for deaths in (1, 2):
            await eventually(lambda: client.health.state == "ready")
            await client.tokenize([Span("the worker has read the requests before this")])
            kill(client)
            await eventually(partial(restarted, client, deaths))
        await eventually(lambda: client.health.state == "ready")
        with pytest.raises(NotReady, match="isolated after repeated crashes"):
            await text(client)
        assert 3 == len(await suspect)
        assert 3 == len(await other)


# --- who is let in


def test_a_first_death_proves_nothing() -> None:
    quarantine, all_ = CrashQuarantine(), [any_request() for _ in range(3)]
    quarantine.on_crash(all_, "SIGSEGV")
    assert [True] * 3 == [quarantine.admit(request) for request in all_]


def test_after_a_second_death_suspects_go_in_one_by_one_and_others_wait() -> None:
    """In the order in which they come."""
    quarantine, (first, second, other) = CrashQuarantine(), [any_request() for _ in range(3)]
    quarantine.on_crash([first, second, other], "SIGSEGV")
    quarantine.release(other)
    quarantine.on_crash([first, second, other], "SIGSEGV")
    assert [True, False, False] == [quarantine.admit(request) for request in (first, second, other)]
    quarantine.release(first)
    assert [False, True, False] == [quarantine.admit(request) for request in (other, second, other)]
    quarantine.release(second)
    assert quarantine.admit(other)
    assert not any(request.blamed_exit for request in (first, second, other))


def test_who_was_on_trial_in_two_deaths_is_guilty() -> None:
    """After one of them it comes last."""
    quarantine, (first, second, other) = CrashQuarantine(), [any_request() for _ in range(3)]
    for _ in range(2):
        quarantine.on_crash([first, second], "SIGSEGV")
    assert [True, False] == [quarantine.admit(request) for request in (first, second)]
    quarantine.on_crash([first, other], "SIGBUS")
    assert [False, True] == [quarantine.admit(request) for request in (first, second)]
    quarantine.release(second)
    assert quarantine.admit(first)
    quarantine.on_crash([first, second], "SIGBUS")
    assert (None, "SIGBUS", None) == (second.blamed_exit, first.blamed_exit, other.blamed_exit)
    quarantine.release(first)
    assert quarantine.admit(second)


def test_who_was_brought_further_in_between_is_no_suspect() -> None:
    """However often it was there."""
    quarantine, request = CrashQuarantine(), any_request()
    for _ in range(10):
        quarantine.on_crash([request], "SIGSEGV")
        assert quarantine.admit(request)
        quarantine.release(request)
    assert request.blamed_exit is None


def test_to_compute_again_what_was_produced_is_no_evidence_but_once() -> None:
    """It takes long, so a worker may well be killed meanwhile; the next one is request to be fast."""
    quarantine = CrashQuarantine()
    request = ResumableGeneration([1], SamplingParams(seed=1))
    request.message(1)
    request.note(Delta(1, 0, "a", [97, 98]))
    runs = []
    for deaths in (1, 1, 2):
        quarantine.on_crash([request], "SIGSEGV")
        assert deaths == request.crashes
        runs += replayed(request)
    assert [[2], [], []] == runs
    assert request.blamed_exit
    quarantine.release(request)
    assert [[2]] == replayed(request)


def replayed(generation: ResumableGeneration) -> list[list[int]]:
    """The runs of each answer."""
    message = generation.message(1)
    assert isinstance(message, Generate)
    return [produced.step_sizes for produced in message.partial_answers if produced]


def test_who_was_alone_in_two_deaths_is_guilty() -> None:
    quarantine, request = CrashQuarantine(), any_request()
    quarantine.on_crash([request], "SIGSEGV")
    assert (None, True) == (request.blamed_exit, quarantine.admit(request))
    quarantine.on_crash([request], "SIGILL")
    assert "SIGILL" == request.blamed_exit


def test_a_suspect_that_leaves_makes_room() -> None:
    """Its client may hang up, at the gate or on trial."""
    quarantine, (first, second, third) = CrashQuarantine(), [any_request() for _ in range(3)]
    for _ in range(2):
        quarantine.on_crash([first, second, third], "SIGSEGV")
    assert [True, False, False] == [quarantine.admit(request) for request in (first, second, third)]
    quarantine.release(second)
    quarantine.release(first)
    assert quarantine.admit(third)


async def test_whoever_waits_is_told_when_something_changes() -> None:
    quarantine, request = CrashQuarantine(), any_request()
    waiting = asyncio.create_task(_waited(quarantine))
    await asyncio.sleep(0)
    quarantine.on_crash([request], "SIGSEGV")
    await asyncio.wait_for(waiting, 60)
    waiting = asyncio.create_task(_waited(quarantine))
    await asyncio.sleep(0)
    assert not waiting.done()
    quarantine.on_crash([any_request()], "SIGSEGV")
    await asyncio.wait_for(waiting, 60)


async def _waited(quarantine: CrashQuarantine) -> Any:
    await quarantine.changed()
