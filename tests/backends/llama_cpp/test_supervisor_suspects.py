"""A request that kills every worker it comes to is found, and fails alone."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.client import Supervisor
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.in_flight import Asked, Generation
from edgeinfer.backends.llama_cpp.messages import Cancel, Generate
from edgeinfer.backends.llama_cpp.quarantine import Suspects
from edgeinfer.errors import NotReady, WorkerDied
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.backends.llama_cpp.test_supervisor import SLOW, asked, eventually, kill, supervised, text
from tests.support.engine import plain
from tests.support.worker_faults import faulty

POISON = "\x07"
TOKEN = ord(POISON)
PARAMS = SamplingParams(max_tokens=60, ignore_eos=True, seed=3, temperature=0.8)


def expected(prompt: str) -> str:
    return plain(prompt, ctx=2048, seed=3, temperature=0.8, max_tokens=60, ignore_eos=True)


def anything() -> Asked:
    return Asked(Cancel)


def restarted(supervisor: Supervisor, times: int) -> bool:
    return supervisor.restarts == times


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
    async with supervised(SLOW) as supervisor:
        await supervisor.ready()
        prompts = [f"client {i}" for i in range(12)]  # more than there are places
        others = [asyncio.create_task(text(supervisor, p, PARAMS)) for p in prompts]
        await eventually(lambda: supervisor.stats.completion_tokens_total)
        poison = asyncio.create_task(text(supervisor, f"a {POISON} in it", PARAMS))
        error = await given_up(poison)
        assert how in error.message
        assert [expected(p) for p in prompts] == await asyncio.gather(*others)
        assert supervisor.restarts <= 4
        assert (0, "ready") == (supervisor.active, supervisor.state)


async def test_one_that_kills_late_is_found_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first part is told before."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 30, "how": "SIGSEGV"})
    async with supervised(SLOW) as supervisor:
        await supervisor.ready()
        other = asyncio.create_task(text(supervisor, "other", PARAMS))
        found = [""]

        async def ask() -> str:
            async for delta in asked(supervisor, f"a {POISON} in it", PARAMS):
                found[0] += delta.text
            return ""

        assert "SIGSEGV" in (await given_up(asyncio.create_task(ask()))).message
        assert 30 - len("a x in it") + 1 == len(found[0])
        assert expected("other") == await other
        assert supervisor.restarts <= 5


@pytest.mark.slow
async def test_one_that_hangs_every_worker_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hang is a death like any other."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "hang"})
    async with supervised(SLOW, hang_timeout=1.0) as supervisor:
        await supervisor.ready()
        poison = asyncio.create_task(text(supervisor, f"a {POISON} in it", PARAMS))
        other = asyncio.create_task(text(supervisor, "other", PARAMS))
        assert "it hung" in (await given_up(poison)).message
        assert expected("other") == await other


@pytest.mark.slow
async def test_two_that_kill_are_both_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "SIGSEGV"})
    async with supervised(SLOW) as supervisor:
        await supervisor.ready()
        poisons = [asyncio.create_task(text(supervisor, f"{i} {POISON}", PARAMS)) for i in range(2)]
        other = asyncio.create_task(text(supervisor, "other", PARAMS))
        for poison in poisons:
            await given_up(poison)
        assert expected("other") == await other
        assert 3 == len(await text(supervisor))


async def test_a_real_worker_is_saved_from_a_poison(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With llama.cpp underneath."""
    faulty(monkeypatch, poison={"token": 7, "position": 0, "how": "SIGSEGV"})
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=4, cells=1280, batch=128, threads=1)
    async with supervised(real) as supervisor:
        await supervisor.ready()
        greedy = SamplingParams(temperature=0.0, max_tokens=100, ignore_eos=True)
        undisturbed = await text(supervisor, "Hello", greedy)
        other = asyncio.create_task(text(supervisor, "Hello", greedy))

        async def ask() -> str:
            deltas = supervisor.generate([5, 6, 7], greedy, add_bos=False)
            return "".join([delta.text async for delta in deltas])

        await given_up(asyncio.create_task(ask()))
        assert undisturbed == await other


async def test_who_is_killed_from_outside_while_it_makes_progress_is_never_blamed() -> None:
    """However often that happens."""
    async with supervised(SLOW) as supervisor:
        found = ""
        async for delta in asked(supervisor, "hello", PARAMS):
            found += delta.text
            if len(found) % 10 == 5:
                kill(supervisor)
        assert expected("hello") == found
        assert 6 == supervisor.restarts == supervisor.resumed


async def test_new_requests_wait_for_a_trial_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told to come again."""
    slower = msgspec.structs.replace(SLOW, model="fake:10")
    async with supervised(slower, wait=0.5) as supervisor:
        await eventually(lambda: supervisor.state == "ready")
        suspect = asyncio.create_task(text(supervisor, "x" * 400))
        other = asyncio.create_task(text(supervisor, "y"))
        await eventually(lambda: supervisor.active == 2)
        for deaths in (1, 2):
            await eventually(lambda: supervisor.state == "ready")
            await supervisor.tokenize([Span("the worker has read the requests before this")])
            kill(supervisor)
            await eventually(partial(restarted, supervisor, deaths))
        await eventually(lambda: supervisor.state == "ready")
        with pytest.raises(NotReady, match="which request"):
            await text(supervisor)
        assert 3 == len(await suspect)
        assert 3 == len(await other)


# --- who is let in


def test_a_first_death_proves_nothing() -> None:
    suspects, all_ = Suspects(), [anything() for _ in range(3)]
    suspects.died(all_, "SIGSEGV")
    assert [True] * 3 == [suspects.admit(asked) for asked in all_]


def test_after_a_second_death_suspects_go_in_one_by_one_and_others_wait() -> None:
    """In the order in which they come."""
    suspects, (first, second, other) = Suspects(), [anything() for _ in range(3)]
    suspects.died([first, second, other], "SIGSEGV")
    suspects.clear(other)
    suspects.died([first, second, other], "SIGSEGV")
    assert [True, False, False] == [suspects.admit(asked) for asked in (first, second, other)]
    suspects.clear(first)
    assert [False, True, False] == [suspects.admit(asked) for asked in (other, second, other)]
    suspects.clear(second)
    assert suspects.admit(other)
    assert not any(asked.guilty for asked in (first, second, other))


def test_who_was_on_trial_in_two_deaths_is_guilty() -> None:
    """After one of them it comes last."""
    suspects, (first, second, other) = Suspects(), [anything() for _ in range(3)]
    for _ in range(2):
        suspects.died([first, second], "SIGSEGV")
    assert [True, False] == [suspects.admit(asked) for asked in (first, second)]
    suspects.died([first, other], "SIGBUS")
    assert [False, True] == [suspects.admit(asked) for asked in (first, second)]
    suspects.clear(second)
    assert suspects.admit(first)
    suspects.died([first, second], "SIGBUS")
    assert (None, "SIGBUS", None) == (second.guilty, first.guilty, other.guilty)
    suspects.clear(first)
    assert suspects.admit(second)


def test_who_was_brought_further_in_between_is_no_suspect() -> None:
    """However often it was there."""
    suspects, asked = Suspects(), anything()
    for _ in range(10):
        suspects.died([asked], "SIGSEGV")
        assert suspects.admit(asked)
        suspects.clear(asked)
    assert asked.guilty is None


def test_to_compute_again_what_was_produced_is_no_evidence_but_once() -> None:
    """It takes long, so a worker may well be killed meanwhile; the next one is asked to be fast."""
    suspects = Suspects()
    asked = Generation([1], SamplingParams(seed=1))
    asked.message(1)
    asked.note(Delta(1, 0, "a", [97, 98]))
    runs = []
    for deaths in (1, 1, 2):
        suspects.died([asked], "SIGSEGV")
        assert deaths == asked.deaths
        runs += repeated(asked)
    assert [[2], [], []] == runs
    assert asked.guilty
    suspects.clear(asked)
    assert [[2]] == repeated(asked)


def repeated(generation: Generation) -> list[list[int]]:
    """The runs of each answer."""
    message = generation.message(1)
    assert isinstance(message, Generate)
    return [produced.step_sizes for produced in message.produced if produced]


def test_who_was_alone_in_two_deaths_is_guilty() -> None:
    suspects, asked = Suspects(), anything()
    suspects.died([asked], "SIGSEGV")
    assert (None, True) == (asked.guilty, suspects.admit(asked))
    suspects.died([asked], "SIGILL")
    assert "SIGILL" == asked.guilty


def test_a_suspect_that_leaves_makes_room() -> None:
    """Its client may hang up, at the gate or on trial."""
    suspects, (first, second, third) = Suspects(), [anything() for _ in range(3)]
    for _ in range(2):
        suspects.died([first, second, third], "SIGSEGV")
    assert [True, False, False] == [suspects.admit(asked) for asked in (first, second, third)]
    suspects.clear(second)
    suspects.clear(first)
    assert suspects.admit(third)


async def test_whoever_waits_is_told_when_something_changes() -> None:
    suspects, asked = Suspects(), anything()
    waiting = asyncio.create_task(_waited(suspects))
    await asyncio.sleep(0)
    suspects.died([asked], "SIGSEGV")
    await asyncio.wait_for(waiting, 60)
    waiting = asyncio.create_task(_waited(suspects))
    await asyncio.sleep(0)
    assert not waiting.done()
    suspects.died([anything()], "SIGSEGV")
    await asyncio.wait_for(waiting, 60)


async def _waited(suspects: Suspects) -> Any:
    await suspects.change()
