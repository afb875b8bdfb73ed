from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from edgeinfer.backends.llama_cpp.client import Supervisor
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.fake import BOS
from edgeinfer.errors import (
    ContextLengthExceeded,
    EdgeinferError,
    InvalidRequest,
    ModelLoadFailed,
    NotReady,
    QueueFull,
    ShuttingDown,
    WorkerDied,
)
from edgeinfer.inference.output import Delta, Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.engine import plain
from tests.support.llama import config

FAKE = config(ctx=2048, batch=512)
SLOW = msgspec.structs.replace(FAKE, model="fake:5")
ENDLESS = SamplingParams(ignore_eos=True, seed=1)
SHORT = SamplingParams(max_tokens=3, ignore_eos=True, seed=1)


@asynccontextmanager
async def supervised(
    config: LlamaConfig = FAKE, *, queue: int = 128, wait: float = 60.0, **more: Any
) -> AsyncGenerator[Supervisor, None]:
    supervisor = Supervisor(config, queue=queue, wait=wait, **more)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until it holds. The bound is there to fail a test, not to time it."""
    for _ in range(1200):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


def asked(
    supervisor: Supervisor, prompt: str, params: SamplingParams = SHORT, n: int = 1
) -> AsyncGenerator[Delta, None]:
    return supervisor.generate([Span(prompt, False)], params, n=n, add_bos=False)


async def text(
    supervisor: Supervisor, prompt: str = "hello", params: SamplingParams = SHORT, n: int = 1
) -> str:
    """The whole of the answers, one after the other."""
    found = [""] * n
    async with aclosing(asked(supervisor, prompt, params, n)) as deltas:
        async for delta in deltas:
            found[delta.index] += delta.text
    return "".join(found)


def pid(supervisor: Supervisor) -> int:
    assert supervisor.worker_pid is not None
    return supervisor.worker_pid


def kill(supervisor: Supervisor, number: signal.Signals = signal.SIGKILL) -> None:
    os.kill(pid(supervisor), number)


async def test_answers_tokens_text_and_vectors_come_through() -> None:
    """All that the daemon wants of a model."""
    async with supervised() as supervisor:
        assert "fake" == (await supervisor.ready()).name
        assert "ready" == supervisor.state
        params = SamplingParams(seed=7, temperature=0.8)
        expected = "".join(plain("hello", ctx=2048, index=i, seed=7, temperature=0.8) for i in range(3))
        assert expected == await text(supervisor, params=params, n=3)
        assert [BOS, 97] == (await supervisor.tokenize([Span("a")], add_bos=True)).tokens
        assert "ab" == await supervisor.detokenize([97, 98])
        found = await supervisor.embed([[Span("a")], [98, 99]])
        assert (2, 3) == (len(found.vectors), found.tokens)


async def test_a_real_model_comes_through(model_file: Path) -> None:
    """The same with llama.cpp underneath."""
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=2, cells=768, batch=128, threads=1)
    async with supervised(real) as supervisor:
        info = await supervisor.ready()
        assert info.generates
        greedy = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True)
        assert await text(supervisor, "Hello", greedy) == await text(supervisor, "Hello", greedy)
        tokens = (await supervisor.tokenize([Span("Hello there", False)])).tokens
        assert "Hello there" == await supervisor.detokenize(tokens)
        found = await supervisor.embed([[Span("Hello")], [Span("Hello")]])
        assert [info.n_embd * 4] * 2 == [len(v) for v in found.vectors]


async def test_requests_wait_for_a_worker_that_is_starting() -> None:
    """The first may come before the model is there."""
    async with supervised() as supervisor:
        assert "starting" == supervisor.state
        assert 3 == len(await text(supervisor))


async def test_a_request_does_not_wait_for_ever() -> None:
    """It is told to come again."""
    async with supervised(wait=0.0) as supervisor:
        with pytest.raises(NotReady) as error:
            await supervisor.ready()
        assert error.value.retry_after
        await eventually(lambda: supervisor.state == "ready")
        await supervisor.ready()


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSEGV", "SIGILL", "SIGABRT", "SIGTERM"])
async def test_an_answer_goes_on_where_its_worker_died(number: str) -> None:
    """The caller sees a pause and no more: each text is the undisturbed one, and so are the figures."""
    async with supervised(SLOW) as supervisor:
        params = SamplingParams(temperature=0.8, seed=5, max_tokens=40, ignore_eos=True)
        expected = [
            plain(p, ctx=2048, index=i, seed=5, temperature=0.8, max_tokens=40, ignore_eos=True)
            for p, i in (("hello", 0), ("hello", 1), ("hello", 2), ("another", 0))
        ]
        texts, finishes = [""] * 3, dict[int, Finish]()
        other = asyncio.create_task(text(supervisor, "another", params))
        async with aclosing(asked(supervisor, "hello", params, 3)) as deltas:
            async for delta in deltas:
                texts[delta.index] += delta.text
                if delta.finish:
                    finishes[delta.index] = delta.finish
                if supervisor.restarts == 0 and len(texts[2]) == 5:
                    first = pid(supervisor)
                    kill(supervisor, signal.Signals[number])
                    await eventually(lambda: supervisor.restarts)
        assert expected == [*texts, await other]
        assert pid(supervisor) != first
        assert (1, 2, 0, "ready") == (
            supervisor.restarts,
            supervisor.resumed,
            supervisor.active,
            supervisor.state,
        )
        assert number in (supervisor.last_exit or "")
        for finish in finishes.values():
            assert (5, 40, "length") == (finish.prompt_tokens, finish.completion_tokens, finish.reason)
            assert finish.predicted_ms > finish.prompt_ms


async def test_an_answer_without_a_seed_goes_on_with_the_draws_it_began_with() -> None:
    """Every worker continues the same random stream: what a fresh one draws is not what it would write itself."""
    async with supervised(SLOW) as supervisor:
        params = SamplingParams(temperature=1.0, max_tokens=30, ignore_eos=True)
        found: list[Delta] = []
        async with aclosing(asked(supervisor, "hello", params)) as deltas:
            async for delta in deltas:
                found.append(delta)
                if len(found) == 10:
                    kill(supervisor)
        assert 30 == sum(len(delta.tokens) for delta in found)
        assert 1 == supervisor.resumed


async def test_a_request_that_had_no_answer_yet_is_asked_again() -> None:
    """Its caller does not notice that the worker died."""
    async with supervised(SLOW) as supervisor:
        await supervisor.ready()
        kill(supervisor, signal.SIGSTOP)
        waiting = asyncio.create_task(text(supervisor))
        await eventually(lambda: supervisor.active)
        kill(supervisor)
        assert 3 == len(await waiting)
        assert 1 == supervisor.restarts


async def test_a_request_that_kills_each_worker_is_given_up() -> None:
    """Twice is enough: it may be what kills them."""
    async with supervised(SLOW) as supervisor:
        await supervisor.ready()
        poison = asyncio.create_task(text(supervisor, "x" * 2000))
        await eventually(lambda: supervisor.active)
        await supervisor.tokenize([Span("the worker has read the request before this")])
        kill(supervisor)
        await eventually(lambda: supervisor.restarts == 1)
        await supervisor.tokenize([Span("and so has the second")])
        kill(supervisor)
        with pytest.raises(WorkerDied):
            await poison
        assert 0 == supervisor.active
        assert 3 == len(await text(supervisor))


async def test_what_an_aborting_worker_says_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """llama.cpp's asserts end in SIGABRT, and stderr tells where."""
    async with supervised() as supervisor:
        await supervisor.ready()
        kill(supervisor, signal.SIGABRT)
        await eventually(lambda: supervisor.last_exit)
        assert "SIGABRT" in (supervisor.last_exit or "")
    assert any("Fatal Python error: Aborted" in record.getMessage() for record in caplog.records)


async def test_why_a_busy_worker_aborted_is_kept() -> None:
    """It is the first thing said; the stacks of all threads come after it."""
    async with supervised(SLOW) as supervisor:
        async with aclosing(asked(supervisor, "hello", ENDLESS)) as deltas:
            await anext(deltas)
            kill(supervisor, signal.SIGABRT)
            await eventually(lambda: supervisor.last_exit)
        assert supervisor.last_exit == "SIGABRT: Fatal Python error: Aborted"


async def test_a_worker_that_hangs_is_killed_and_replaced() -> None:
    """It says nothing between two steps, so nothing is waited for; its answer goes on elsewhere."""
    async with supervised(SLOW, hang_timeout=1.0) as supervisor:
        expected = plain("hello", ctx=2048, seed=1, max_tokens=40, ignore_eos=True)
        params = SamplingParams(max_tokens=40, ignore_eos=True, seed=1)
        found = ""
        async with aclosing(asked(supervisor, "hello", params)) as deltas:
            async for delta in deltas:
                found += delta.text
                if len(found) == 5:
                    kill(supervisor, signal.SIGSTOP)
                    await eventually(lambda: supervisor.heartbeat_age > 0)
                    assert supervisor.healthy
        assert expected == found
        assert "SIGKILL: it hung" in (supervisor.last_exit or "")
        assert (1, 1) == (supervisor.restarts, supervisor.resumed)


async def test_an_idle_worker_that_hangs_is_found_too() -> None:
    """Before anybody asks it something."""
    async with supervised(hang_timeout=0.5) as supervisor:
        await supervisor.ready()
        kill(supervisor, signal.SIGSTOP)
        await eventually(lambda: "it hung" in (supervisor.last_exit or ""))
        assert 3 == len(await text(supervisor))


async def test_a_step_that_takes_long_is_no_hang() -> None:
    """A prompt is read in steps of more than the limit: the steps before have shown what to expect."""
    slower = msgspec.structs.replace(FAKE, batch=300, model="fake:5")
    async with supervised(slower, hang_timeout=0.6) as supervisor:
        await text(supervisor, "x" * 60)
        assert 3 == len(await text(supervisor, "y" * 600))
        assert 0 == supervisor.restarts


async def test_closing_the_answer_cancels_it() -> None:
    """Its cells are free again, and the figures say so."""
    async with supervised(SLOW) as supervisor:
        async with aclosing(asked(supervisor, "hello", ENDLESS, 3)) as deltas:
            await anext(deltas)
            assert 3 == supervisor.active
        assert 0 == supervisor.active
        await eventually(lambda: supervisor.stats.running == supervisor.stats.cells_used == 0)


async def test_cancelling_the_task_cancels_the_answer() -> None:
    """As a disconnect does, here inside a prefill that would take 10 s."""
    async with supervised(SLOW) as supervisor:
        await supervisor.ready()
        task = asyncio.create_task(text(supervisor, "x" * 2000))
        await eventually(lambda: supervisor.active)
        await supervisor.tokenize([Span("the worker has read the request before this")])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == supervisor.active
        assert 3 == len(await text(supervisor))
        assert 5 == supervisor.stats.prompt_tokens_total


async def test_one_more_than_may_wait_is_told_when_to_come_again() -> None:
    """Those that run and wait are not disturbed."""
    small = msgspec.structs.replace(SLOW, parallel=2)
    async with supervised(small, queue=1) as supervisor:
        await supervisor.ready()
        running = [asyncio.create_task(text(supervisor)) for _ in range(3)]
        await eventually(lambda: supervisor.active == 3)
        with pytest.raises(QueueFull) as error:
            await text(supervisor)
        assert error.value.retry_after
        assert [3, 3, 3] == [len(t) for t in await asyncio.gather(*running)]
        assert 3 == len(await text(supervisor))


async def test_n_answers_count_as_n() -> None:
    """Asking for more than there is room for is refused as a whole."""
    async with supervised(msgspec.structs.replace(FAKE, parallel=2), queue=1) as supervisor:
        async with aclosing(asked(supervisor, "hello", ENDLESS)) as deltas:
            await anext(deltas)
            with pytest.raises(QueueFull):
                await text(supervisor, n=3)
            assert 1 == supervisor.active
        assert 9 == len(await text(supervisor, n=3))


async def test_more_answers_than_may_ever_wait_are_refused_for_good() -> None:
    """To come again later would be bad advice."""
    async with supervised(msgspec.structs.replace(FAKE, parallel=2), queue=1) as supervisor:
        with pytest.raises(InvalidRequest) as error:
            await text(supervisor, n=4)
        assert ("n", None) == (error.value.param, error.value.retry_after)
        assert 0 == supervisor.active


async def test_32_clients_on_8_places_are_all_answered() -> None:
    """Each with its own answer."""
    async with supervised(FAKE, queue=24) as supervisor:
        prompts = [f"client {i}" for i in range(32)]
        params = SamplingParams(seed=3, temperature=0.8)
        found = await asyncio.gather(*(text(supervisor, p, params) for p in prompts))
        assert [plain(p, ctx=2048, seed=3, temperature=0.8) for p in prompts] == found
        assert 0 == supervisor.active
        await eventually(lambda: supervisor.stats.running == supervisor.stats.waiting == 0)


async def test_a_refused_request_raises_before_anything_else() -> None:
    """With the class and the counts that the engine gave it."""
    async with supervised() as supervisor:
        with pytest.raises(ContextLengthExceeded, match=r"2048.*2048"):
            await text(supervisor, "x" * 2048)
        assert 0 == supervisor.active
        with pytest.raises(EdgeinferError):
            await supervisor.detokenize([999])


async def test_a_model_that_does_not_load_has_failed_for_good(tmp_path: Path) -> None:
    """No restarts: it would fail again."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no model")
    async with supervised(msgspec.structs.replace(FAKE, model=str(path))) as supervisor:
        with pytest.raises(ModelLoadFailed, match=r"broken\.gguf"):
            await supervisor.ready()
        await eventually(lambda: supervisor.state == "failed")
        assert (0, None, None) == (supervisor.restarts, supervisor.info, supervisor.worker_pid)
        with pytest.raises(ModelLoadFailed):
            await text(supervisor)


async def test_a_model_that_takes_too_long_has_failed() -> None:
    """Told as NotReady, with what to do about it."""
    async with supervised(load_timeout=0.001) as supervisor:
        with pytest.raises(NotReady) as error:
            await supervisor.ready()
        assert "load-timeout" in (error.value.hint or "")
        assert "failed" == supervisor.state


async def test_stopping_refuses_new_requests_and_lets_running_ones_end() -> None:
    """Within the time that is given."""
    async with supervised(SLOW) as supervisor:
        params = SamplingParams(max_tokens=40, ignore_eos=True, seed=1)
        running = asyncio.create_task(text(supervisor, params=params))
        await eventually(lambda: supervisor.stats.completion_tokens_total)
        process = psutil.Process(pid(supervisor))
        stopping = asyncio.create_task(supervisor.stop(drain=60.0))
        await eventually(lambda: supervisor.state == "stopped")
        with pytest.raises(ShuttingDown):
            await text(supervisor)
        expected = plain("hello", ctx=2048, seed=1, max_tokens=40, ignore_eos=True)
        assert expected == await running
        await stopping
        assert not process.is_running()


async def test_stopping_without_patience_ends_running_requests_with_an_error() -> None:
    """None is left hanging."""
    async with supervised(SLOW) as supervisor:
        running = asyncio.create_task(text(supervisor, params=ENDLESS))
        await eventually(lambda: supervisor.stats.completion_tokens_total)
        process = psutil.Process(pid(supervisor))
        await supervisor.stop()
        with pytest.raises(EdgeinferError):
            await asyncio.wait_for(running, 30)
        assert not process.is_running()
        assert ("stopped", 0, None) == (supervisor.state, supervisor.active, supervisor.worker_pid)


async def test_stopping_twice_is_once() -> None:
    """A second signal may come."""
    async with supervised() as supervisor:
        await supervisor.ready()
        await asyncio.gather(supervisor.stop(), supervisor.stop())
        await supervisor.stop()
        assert "stopped" == supervisor.state


@pytest.mark.parametrize("looks", [0, 1, 2, 3, 5, 20])
async def test_stopping_while_the_worker_starts_leaves_no_process(looks: int) -> None:
    """At whatever point of the start it comes."""
    before = psutil.Process().children()
    supervisor = Supervisor(FAKE, queue=1)
    await supervisor.start()
    for _ in range(looks):
        await asyncio.sleep(0)
    await supervisor.stop()
    assert "stopped" == supervisor.state
    with pytest.raises(ShuttingDown):
        await supervisor.ready()
    assert before == psutil.Process().children()


async def test_what_the_worker_logs_comes_out_in_the_daemon(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Under the logger's own name: llama.cpp says there why a model does not load."""
    async with supervised(msgspec.structs.replace(FAKE, model=str(tmp_path / "none.gguf"))) as supervisor:
        with pytest.raises(ModelLoadFailed):
            await supervisor.ready()
    assert any(r.name == "llama.cpp" and "none.gguf" in r.getMessage() for r in caplog.records)


async def test_a_worker_that_sends_garbage_is_replaced() -> None:
    """Its memory may be broken. What it was asked is asked of the next one."""
    async with supervised(SLOW) as supervisor:
        found, params = "", SamplingParams(max_tokens=30, seed=1, ignore_eos=True)
        async with aclosing(asked(supervisor, "hello", params)) as deltas:
            async for delta in deltas:
                found += delta.text
                if len(found) == 5 and not supervisor.restarts:
                    assert supervisor._worker
                    supervisor._worker._reader.feed_data(b"\xff" * 100)
        assert plain("hello", ctx=2048, seed=1, max_tokens=30, ignore_eos=True) == found
        assert "it sent what cannot be understood" in (supervisor.last_exit or "")


async def test_a_bug_of_ours_does_not_leave_a_daemon_that_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has failed, and whoever minds it sees that."""
    async with supervised(FAKE) as supervisor:
        await supervisor.ready()

        async def broken(death: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(supervisor._launcher, "after", broken)
        kill(supervisor)
        await eventually(lambda: supervisor.state == "failed")
        assert not supervisor.healthy
        with pytest.raises(EdgeinferError, match="a bug"):
            await supervisor.ready()
