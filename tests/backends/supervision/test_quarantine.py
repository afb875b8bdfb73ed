"""A request that crashes every worker is found, and fails alone."""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.in_flight import ResumableGeneration
from edgeinfer.backends.llama_cpp.messages import Generate
from edgeinfer.backends.supervision.quarantine import CrashQuarantine
from edgeinfer.backends.supervision.request import InFlightRequest
from edgeinfer.errors import NotReady, WorkerDied
from edgeinfer.inference.output import Delta, PromptProgress
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
    return InFlightRequest()


def restarted(client: LlamaClient, times: int) -> bool:
    return client.health.restarts == times


async def given_up(task: asyncio.Task[str]) -> WorkerDied:
    with pytest.raises(WorkerDied) as error:
        await task
    return error.value


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGABRT", "SIGKILL"])
async def test_only_the_request_that_crashes_workers_fails(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four workers crash on its prompt, and every other answer is complete and undisturbed."""
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
        # A worker that had computed something may have been killed by somebody else.
        patience = InFlightRequest.MAX_KILLS if how == "SIGKILL" else 0
        assert client.health.restarts <= 4 + patience
        assert (0, "ready") == (client.active, client.health.state)


async def test_request_that_crashes_workers_late_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The beginning of its answer comes before the error."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 30, "how": "SIGSEGV"})
    async with supervised(SLOW) as client:
        await client.ready()
        other = asyncio.create_task(text(client, "other", PARAMS))
        begun = [""]

        async def ask() -> str:
            async for delta in generate(client, f"a {POISON} in it", PARAMS):
                begun[0] += delta.text
            return ""

        assert "SIGSEGV" in (await given_up(asyncio.create_task(ask()))).message
        assert 30 - len("a x in it") + 1 == len(begun[0])
        assert expected("other") == await other
        assert client.health.restarts <= 5


@pytest.mark.slow
async def test_progress_of_a_prompt_does_not_clear_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """It crashes workers in the middle of its prompt, each time after the first report."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 700, "how": "SIGSEGV"})
    reports: list[PromptProgress] = []

    async def ask(client: LlamaClient) -> str:
        params = msgspec.structs.replace(PARAMS, prompt_progress=True)
        async for delta in generate(client, POISON + "x" * 1500, params):
            assert delta.progress
            reports.append(delta.progress)
        return ""

    async with supervised(SLOW) as client:
        await client.ready()
        other = asyncio.create_task(text(client, "other", PARAMS))
        assert "SIGSEGV" in (await given_up(asyncio.create_task(ask(client)))).message
        assert expected("other") == await other
        assert client.health.restarts <= 5
    assert reports
    assert all(0 < report.computed < report.total == 1501 for report in reports)


@pytest.mark.slow
async def test_request_that_hangs_workers_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hang counts as a crash."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "hang"})
    async with supervised(SLOW, hang_timeout=1.0) as client:
        await client.ready()
        poison = asyncio.create_task(text(client, f"a {POISON} in it", PARAMS))
        other = asyncio.create_task(text(client, "other", PARAMS))
        assert "it hung" in (await given_up(poison)).message
        assert expected("other") == await other


@pytest.mark.slow
async def test_two_requests_that_crash_workers_are_both_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is found after the other."""
    faulty(monkeypatch, poison={"token": TOKEN, "position": 0, "how": "SIGSEGV"})
    async with supervised(SLOW) as client:
        await client.ready()
        poisons = [asyncio.create_task(text(client, f"{i} {POISON}", PARAMS)) for i in range(2)]
        other = asyncio.create_task(text(client, "other", PARAMS))
        for poison in poisons:
            await given_up(poison)
        assert expected("other") == await other
        assert 3 == len(await text(client))


async def test_request_that_crashes_a_real_worker_is_found(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp is underneath."""
    faulty(monkeypatch, poison={"token": 3001, "position": 0, "how": "SIGSEGV"})
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=4, cells=1280, batch=128, threads=1)
    async with supervised(real) as client:
        await client.ready()
        greedy = SamplingParams(temperature=0.0, max_tokens=100, ignore_eos=True)
        undisturbed = await text(client, "Hello", greedy)
        other = asyncio.create_task(text(client, "Hello", greedy))

        async def ask() -> str:
            deltas = client.generate([3000, 3001], greedy, add_bos=False)
            return "".join([delta.text async for delta in deltas])

        await given_up(asyncio.create_task(ask()))
        assert undisturbed == await other


async def test_request_that_makes_progress_is_never_blamed() -> None:
    """Its workers are killed from outside, as often as it may be."""
    async with supervised(SLOW) as client:
        answer = ""
        async for delta in generate(client, "hello", PARAMS):
            answer += delta.text
            if len(answer) % 10 == 5:
                kill(client)
        assert expected("hello") == answer
        assert 6 == client.health.restarts == client.health.resumed


async def test_new_request_waits_for_an_isolated_one_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error says when to try again."""
    slower = msgspec.structs.replace(SLOW, model="fake:10")
    async with supervised(slower, wait=0.5) as client:
        await eventually(lambda: client.health.state == "ready")
        suspect = asyncio.create_task(text(client, "x" * 400))
        other = asyncio.create_task(text(client, "y"))
        await eventually(lambda: client.active == 2)
        for crashes in (1, 2):
            await eventually(lambda: client.health.state == "ready")
            await client.tokenize([Span("the worker has read the requests before this")])
            kill(client, signal.SIGSEGV)
            await eventually(partial(restarted, client, crashes))
        await eventually(lambda: client.health.state == "ready")
        with pytest.raises(NotReady, match="isolated after repeated crashes"):
            await text(client)
        assert 3 == len(await suspect)
        assert 3 == len(await other)


# --- admission


def test_all_requests_resume_after_one_crash() -> None:
    """One crash proves nothing."""
    quarantine, all_ = CrashQuarantine(), [any_request() for _ in range(3)]
    quarantine.on_crash(all_, "SIGSEGV")
    assert [True] * 3 == [quarantine.admit(request) for request in all_]


def test_after_two_crashes_suspects_run_one_by_one_and_others_wait() -> None:
    """Suspects run in the order in which they come."""
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


def test_request_isolated_in_two_crashes_is_to_blame() -> None:
    """After the first of them it is the last to be isolated again."""
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


def test_request_with_progress_between_crashes_is_not_a_suspect() -> None:
    """It does not matter how many crashes there were."""
    quarantine, request = CrashQuarantine(), any_request()
    for _ in range(10):
        quarantine.on_crash([request], "SIGSEGV")
        assert quarantine.admit(request)
        quarantine.release(request)
    assert request.blamed_exit is None


def test_crash_while_replaying_is_no_evidence_the_first_time() -> None:
    """Replaying takes long, so another kill may well come meanwhile; the next worker need not replay."""
    quarantine = CrashQuarantine()
    request = ResumableGeneration([1], SamplingParams(seed=1))
    request.message(1)
    request.note(Delta(1, 0, "a", [97, 98]))
    runs = []
    for crashes in (1, 1, 2):
        quarantine.on_crash([request], "SIGSEGV")
        assert crashes == request.crashes
        runs += replayed(request)
    assert [[2], [], []] == runs
    assert request.blamed_exit
    quarantine.release(request)
    assert [[2]] == replayed(request)


def test_worker_that_is_killed_while_replaying_is_followed_by_others_that_replay() -> None:
    """Each goes on from what the one before has left in memory, so few are needed."""
    quarantine = CrashQuarantine()
    request = ResumableGeneration([1], SamplingParams(seed=1))
    request.message(1)
    request.note(Delta(1, 0, "a", [97, 98]))
    runs = []
    for _ in range(InFlightRequest.MAX_KILLS + 2):
        quarantine.on_crash([request], "SIGKILL", killed=True)
        runs += replayed(request)
    assert [[2]] * InFlightRequest.MAX_KILLS + [[], []] == runs
    assert 2 == request.crashes


def replayed(generation: ResumableGeneration) -> list[list[int]]:
    """The step sizes that each answer has to be replayed with."""
    message = generation.message(1)
    assert isinstance(message, Generate)
    return [partial.step_sizes for partial in message.partial_answers if partial]


def test_request_alone_in_two_crashes_is_to_blame() -> None:
    """No other request can have been the cause."""
    quarantine, request = CrashQuarantine(), any_request()
    quarantine.on_crash([request], "SIGSEGV")
    assert (None, True) == (request.blamed_exit, quarantine.admit(request))
    quarantine.on_crash([request], "SIGILL")
    assert "SIGILL" == request.blamed_exit


def test_request_is_not_suspected_when_workers_are_killed_from_outside_before_its_first_token() -> None:
    """Not at once: what kills them may be a guard that the request makes them too large for."""
    quarantine, requests = CrashQuarantine(), [any_request() for _ in range(2)]
    for _ in range(InFlightRequest.MAX_KILLS + 1):
        quarantine.on_crash(requests, "SIGKILL", killed=True)
        assert [True, True] == [quarantine.admit(request) for request in requests]
    quarantine.on_crash(requests, "SIGKILL", killed=True)
    assert [True, False] == [quarantine.admit(request) for request in requests]
    quarantine.release(requests[1])
    quarantine.on_crash(requests[:1], "SIGKILL", killed=True)
    assert quarantine.admit(requests[0])
    quarantine.on_crash(requests[:1], "SIGKILL", killed=True)
    assert "SIGKILL" == requests[0].blamed_exit


def test_suspect_that_ends_lets_the_next_one_run() -> None:
    """Its client may disconnect while it waits or runs."""
    quarantine, (first, second, third) = CrashQuarantine(), [any_request() for _ in range(3)]
    for _ in range(2):
        quarantine.on_crash([first, second, third], "SIGSEGV")
    assert [True, False, False] == [quarantine.admit(request) for request in (first, second, third)]
    quarantine.release(second)
    quarantine.release(first)
    assert quarantine.admit(third)


async def test_crash_wakes_those_who_wait_for_a_change() -> None:
    """Each wait is for the next change."""
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
