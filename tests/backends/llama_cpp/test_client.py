"""The client answers every request, even if its workers crash, hang or are killed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from contextlib import aclosing
from pathlib import Path

import msgspec
import psutil
import pytest

from edgeinfer.backends.llama_cpp.binding.build import engine_build
from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import WorkerHandle
from edgeinfer.backends.llama_cpp.messages import Cancel, WorkerMessage
from edgeinfer.engine.fake import BOS
from edgeinfer.errors import (
    ContextLengthExceeded,
    EdgeinferError,
    ModelLoadFailed,
    NotReady,
    ShuttingDown,
    WorkerDied,
)
from edgeinfer.inference.client import EngineClient, EngineHealth
from edgeinfer.inference.fake import FakeEngineClient
from edgeinfer.inference.output import Delta, Finish
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.engine import plain
from tests.support.llama_client import (
    ENDLESS,
    FAKE,
    SHORT,
    SLOW,
    eventually,
    generate,
    kill,
    pid,
    supervised,
    text,
)


async def test_client_answers_every_kind_of_request() -> None:
    """Answers, tokens, text and vectors come from a worker process."""
    async with supervised() as client:
        assert "fake" == (await client.ready()).name
        assert "ready" == client.health.state
        assert client.health.stats.cells > 0  # before any request
        params = SamplingParams(seed=7, temperature=0.8)
        expected = "".join(plain("hello", ctx=2048, index=i, seed=7, temperature=0.8) for i in range(3))
        assert expected == await text(client, params=params, n=3)
        assert [BOS, 97] == (await client.tokenize([Span("a")], add_bos=True)).ids
        assert "ab" == await client.detokenize([97, 98])
        embeddings = await client.embed([[Span("a")], [98, 99]])
        assert (2, 3) == (len(embeddings.vectors), embeddings.tokens)


async def test_real_model_answers_every_kind_of_request(model_file: Path) -> None:
    """They do with llama.cpp underneath as well."""
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=2, cells=768, batch=128, threads=1)
    async with supervised(real) as client:
        info = await client.ready()
        assert info.generates
        assert engine_build() == client.health.build
        greedy = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True)
        assert await text(client, "Hello", greedy) == await text(client, "Hello", greedy)
        tokens = (await client.tokenize([Span("Hello there", False)])).ids
        assert "Hello there" == await client.detokenize(tokens)
        embeddings = await client.embed([[Span("Hello")], [Span("Hello")]])
        assert [info.n_embd * 4] * 2 == [len(v) for v in embeddings.vectors]


async def test_request_waits_for_a_worker_that_starts() -> None:
    """The first request may come before the model is loaded."""
    async with supervised() as client:
        assert "starting" == client.health.state
        assert 3 == len(await text(client))


async def test_request_does_not_wait_for_ever() -> None:
    """The error says when to try again."""
    async with supervised(wait=0.0) as client:
        with pytest.raises(NotReady) as error:
            await client.ready()
        assert error.value.retry_after
        await eventually(lambda: client.health.state == "ready")
        await client.ready()


@pytest.mark.parametrize("number", ["SIGKILL", "SIGSEGV", "SIGILL", "SIGABRT", "SIGUSR1"])
async def test_answer_resumes_where_its_worker_died(number: str) -> None:
    """The caller sees nothing but a pause: texts and counts are those of undisturbed answers."""
    async with supervised(SLOW) as client:
        params = SamplingParams(temperature=0.8, seed=5, max_tokens=40, ignore_eos=True)
        expected = [
            plain(p, ctx=2048, index=i, seed=5, temperature=0.8, max_tokens=40, ignore_eos=True)
            for p, i in (("hello", 0), ("hello", 1), ("hello", 2), ("another", 0))
        ]
        texts, finishes = [""] * 3, dict[int, Finish]()
        other = asyncio.create_task(text(client, "another", params))
        async with aclosing(generate(client, "hello", params, 3)) as deltas:
            async for delta in deltas:
                texts[delta.index] += delta.text
                if delta.finish:
                    finishes[delta.index] = delta.finish
                if client.health.restarts == 0 and len(texts[2]) == 5:
                    first = pid(client)
                    kill(client, signal.Signals[number])
                    await eventually(lambda: client.health.restarts)
        assert expected == [*texts, await other]
        assert pid(client) != first
        assert (1, 2, 0, "ready") == (
            client.health.restarts,
            client.health.resumed,
            client.active,
            client.health.state,
        )
        assert number in (client.health.last_exit or "")
        for finish in finishes.values():
            assert (5, 40, "length") == (finish.prompt_tokens, finish.completion_tokens, finish.reason)
            assert finish.predicted_ms > finish.prompt_ms


async def test_counters_of_dead_workers_are_kept() -> None:
    """A new worker counts from zero."""
    async with supervised() as client:
        for earlier in (0, 3, 6):
            assert 3 == len(await text(client))
            await eventually(lambda: client.health.stats.completion_tokens_total == 3)
            assert earlier == client.health.earlier_stats.completion_tokens_total
            died = pid(client)
            kill(client)
            await eventually(lambda died=died: client.health.pid not in (None, died))  # type: ignore[misc]


async def test_answer_without_a_seed_resumes_with_the_same_random_stream() -> None:
    """The next worker continues the stream of the first one instead of beginning its own."""
    async with supervised(SLOW) as client:
        params = SamplingParams(temperature=1.0, max_tokens=30, ignore_eos=True)
        received: list[Delta] = []
        async with aclosing(generate(client, "hello", params)) as deltas:
            async for delta in deltas:
                received.append(delta)
                if len(received) == 10:
                    kill(client)
        assert 30 == sum(len(delta.tokens) for delta in received)
        assert 1 == client.health.resumed


async def test_request_without_output_is_sent_again() -> None:
    """Its caller does not notice that the worker died."""
    async with supervised(SLOW) as client:
        await client.ready()
        kill(client, signal.SIGSTOP)
        waiting = asyncio.create_task(text(client))
        await eventually(lambda: client.active)
        kill(client)
        assert 3 == len(await waiting)
        assert 1 == client.health.restarts


async def test_request_that_was_alone_in_two_crashes_is_given_up() -> None:
    """It may be what crashes the workers."""
    async with supervised(
        msgspec.structs.replace(FAKE, model="fake:200")
    ) as client:  # it must not end before they do
        await client.ready()
        poison = asyncio.create_task(text(client, "x" * 2000))
        await eventually(lambda: client.active)
        await client.tokenize([Span("the worker has read the request before this")])
        kill(client, signal.SIGSEGV)
        await eventually(lambda: client.health.restarts == 1)
        await client.tokenize([Span("and so has the second")])
        kill(client, signal.SIGSEGV)
        with pytest.raises(WorkerDied):
            await poison
        assert 0 == client.active
        assert 3 == len(await text(client))


async def test_new_requests_get_the_error_of_a_model_that_is_gone(tmp_path: Path, model_file: Path) -> None:
    """As soon as it is certain that it does not come back by itself, however long requests may wait."""
    path = tmp_path / "gone.gguf"
    shutil.copy(model_file, path)
    real = LlamaConfig(str(path), "real", ctx=256, parallel=1, cells=512, batch=64, threads=1)
    async with supervised(real, wait=1e6) as client:
        await client.ready()
        path.unlink()
        kill(client)
        with pytest.raises(EdgeinferError, match=r"gone\.gguf"):
            await text(client)
        shutil.copy(model_file, path)
        await eventually(lambda: client.health.state == "ready")
        assert await text(client)


async def test_stderr_of_an_aborting_worker_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """llama.cpp's asserts end in SIGABRT, and stderr says where."""
    async with supervised() as client:
        await client.ready()
        kill(client, signal.SIGABRT)
        await eventually(lambda: client.health.last_exit)
        assert "SIGABRT" in (client.health.last_exit or "")
        (exit,) = client.health.exits
        assert exit.cause == client.health.last_exit
        assert exit.was_ready
        assert abs(exit.at - time.time()) < 60
    assert any("Fatal Python error: Aborted" in record.getMessage() for record in caplog.records)


async def test_cause_of_an_abort_is_the_first_line_that_names_one() -> None:
    """The stacks of all threads come after it."""
    async with supervised(SLOW) as client:
        async with aclosing(generate(client, "hello", ENDLESS)) as deltas:
            await anext(deltas)
            kill(client, signal.SIGABRT)
            await eventually(lambda: client.health.last_exit)
        assert client.health.last_exit == "SIGABRT: Fatal Python error: Aborted"


async def test_worker_that_hangs_is_killed_and_replaced() -> None:
    """Its answer resumes in the next one."""
    async with supervised(SLOW, hang_timeout=1.0) as client:
        expected = plain("hello", ctx=2048, seed=1, max_tokens=40, ignore_eos=True)
        params = SamplingParams(max_tokens=40, ignore_eos=True, seed=1)
        answer = ""
        async with aclosing(generate(client, "hello", params)) as deltas:
            async for delta in deltas:
                answer += delta.text
                if len(answer) == 5:
                    kill(client, signal.SIGSTOP)
                    await eventually(lambda: client.health.silence > 0)
                    assert client.health.healthy
        assert expected == answer
        assert "SIGKILL: it hung" in (client.health.last_exit or "")
        assert (1, 1) == (client.health.restarts, client.health.resumed)


async def test_idle_worker_that_hangs_is_replaced_too() -> None:
    """It is found before any request meets it."""
    async with supervised(hang_timeout=0.5) as client:
        await client.ready()
        kill(client, signal.SIGSTOP)
        await eventually(lambda: "it hung" in (client.health.last_exit or ""))
        assert 3 == len(await text(client))


async def test_long_step_is_not_a_hang() -> None:
    """A prompt is computed in steps longer than the limit; the steps before have shown what to expect."""
    slower = msgspec.structs.replace(FAKE, batch=300, model="fake:5")
    async with supervised(slower, hang_timeout=0.6) as client:
        await text(client, "x" * 60)
        assert 3 == len(await text(client, "y" * 600))
        assert 0 == client.health.restarts


async def test_closing_the_generator_cancels_the_request() -> None:
    """Its cells are free again, and the stats say so."""
    async with supervised(SLOW) as client:
        async with aclosing(generate(client, "hello", ENDLESS, 3)) as deltas:
            await anext(deltas)
            assert 3 == client.active
        assert 0 == client.active
        await eventually(lambda: client.health.stats.running == client.health.stats.cells_used == 0)


async def test_cancel_is_sent_only_for_what_is_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete answer, a reply and an error leave nothing to cancel."""
    async with supervised(SLOW) as client:
        await client.ready()
        worker, cancels = client.health.worker, list[Cancel]()
        assert worker is not None

        def send(message: WorkerMessage) -> None:
            cancels.extend([message] if isinstance(message, Cancel) else [])
            WorkerHandle.send(worker, message)

        monkeypatch.setattr(worker, "send", send)
        await text(client, n=3)
        await client.tokenize([Span("a")])
        with pytest.raises(ContextLengthExceeded):
            await text(client, "x" * 2048)
        async with aclosing(generate(client, "hello", SHORT)) as deltas:
            async for delta in deltas:
                if delta.finish:
                    break
        assert [] == cancels
        async with aclosing(generate(client, "hello", ENDLESS)) as deltas:
            await anext(deltas)
        assert 1 == len(cancels)
        assert worker.idle.is_set()


async def test_wait_of_a_request_counts_from_when_it_was_accepted() -> None:
    """The caller's own queue is part of it, and so is the wait for a worker that starts."""
    async with supervised() as client:
        accepted_at = time.monotonic() - 100
        async with aclosing(generate(client, "hello", SHORT, accepted_at=accepted_at)) as deltas:
            (finish,) = [delta.finish async for delta in deltas if delta.finish]
        assert 100_000 <= finish.queue_ms <= 1000 * (time.monotonic() - accepted_at)


def test_client_is_an_engine_client() -> None:
    """The type checker agrees, for the fake engine as well."""
    clients: list[EngineClient] = [LlamaClient(FAKE), FakeEngineClient()]
    healths: list[EngineHealth] = [client.health for client in clients]
    assert ["starting", "starting"] == [health.state for health in healths]


async def test_cancelling_the_task_cancels_the_request() -> None:
    """A disconnected client does this; here the prefill would take 10 s."""
    async with supervised(SLOW) as client:
        await client.ready()
        task = asyncio.create_task(text(client, "x" * 2000))
        await eventually(lambda: client.active)
        await client.tokenize([Span("the worker has read the request before this")])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == client.active
        assert 3 == len(await text(client))
        assert 5 == client.health.stats.prompt_tokens_total


async def test_32_clients_of_a_worker_for_8_are_all_answered() -> None:
    """Each gets its own answer."""
    async with supervised(FAKE) as client:
        prompts = [f"client {i}" for i in range(32)]
        params = SamplingParams(seed=3, temperature=0.8)
        answers = await asyncio.gather(*(text(client, p, params) for p in prompts))
        assert [plain(p, ctx=2048, seed=3, temperature=0.8) for p in prompts] == answers
        assert 0 == client.active
        await eventually(lambda: client.health.stats.running == client.health.stats.waiting == 0)


async def test_refused_request_raises_the_error_of_the_engine() -> None:
    """It has the class and the counts that the engine gave it."""
    async with supervised() as client:
        with pytest.raises(ContextLengthExceeded, match=r"2048.*2048"):
            await text(client, "x" * 2048)
        assert 0 == client.active
        with pytest.raises(EdgeinferError):
            await client.detokenize([999])


async def test_model_that_does_not_load_has_failed_for_good(tmp_path: Path) -> None:
    """There are no restarts: it would fail again."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no model")
    async with supervised(msgspec.structs.replace(FAKE, model=str(path))) as client:
        with pytest.raises(ModelLoadFailed, match=r"broken\.gguf"):
            await client.ready()
        await eventually(lambda: client.health.state == "failed")
        assert (0, None, None) == (client.health.restarts, client.info, client.health.pid)
        with pytest.raises(ModelLoadFailed):
            await text(client)


async def test_model_that_takes_too_long_to_load_has_failed() -> None:
    """The error is NotReady, and says what to do."""
    async with supervised(load_timeout=0.001) as client:
        with pytest.raises(NotReady) as error:
            await client.ready()
        assert "load-timeout" in (error.value.hint or "")
        assert "failed" == client.health.state


async def test_closing_refuses_new_requests_and_drains_running_ones() -> None:
    """The drain is their time limit."""
    async with supervised(SLOW) as client:
        params = SamplingParams(max_tokens=40, ignore_eos=True, seed=1)
        running = asyncio.create_task(text(client, params=params))
        await eventually(lambda: client.health.stats.completion_tokens_total)
        process = psutil.Process(pid(client))
        stopping = asyncio.create_task(client.aclose(drain=60.0))
        await eventually(lambda: client.health.state == "stopped")
        with pytest.raises(ShuttingDown):
            await text(client)
        expected = plain("hello", ctx=2048, seed=1, max_tokens=40, ignore_eos=True)
        assert expected == await running
        await stopping
        assert not process.is_running()


async def test_closing_without_drain_ends_running_requests_with_an_error() -> None:
    """None is left hanging."""
    async with supervised(SLOW) as client:
        running = asyncio.create_task(text(client, params=ENDLESS))
        await eventually(lambda: client.health.stats.completion_tokens_total)
        process = psutil.Process(pid(client))
        await client.aclose()
        with pytest.raises(EdgeinferError):
            await asyncio.wait_for(running, 30)
        assert not process.is_running()
        assert ("stopped", 0, None) == (client.health.state, client.active, client.health.pid)


async def test_client_may_be_closed_twice() -> None:
    """A second signal may come."""
    async with supervised() as client:
        await client.ready()
        await asyncio.gather(client.aclose(), client.aclose())
        await client.aclose()
        assert "stopped" == client.health.state


@pytest.mark.parametrize("looks", [0, 1, 2, 3, 5, 20])
async def test_closing_while_the_worker_starts_leaves_no_process(looks: int) -> None:
    """It may come at any point of the start."""
    before = psutil.Process().children()
    client = LlamaClient(FAKE)
    await client.start()
    for _ in range(looks):
        await asyncio.sleep(0)
    await client.aclose()
    assert "stopped" == client.health.state
    with pytest.raises(ShuttingDown):
        await client.ready()
    assert before == psutil.Process().children()


async def test_worker_logs_through_the_daemon(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Records keep the logger's name: llama.cpp says there why a model does not load."""
    async with supervised(msgspec.structs.replace(FAKE, model=str(tmp_path / "none.gguf"))) as client:
        with pytest.raises(ModelLoadFailed):
            await client.ready()
    assert any(r.name == "llama.cpp" and "none.gguf" in r.getMessage() for r in caplog.records)


async def test_worker_that_sends_garbage_is_replaced() -> None:
    """Its memory may be corrupt. Its requests go to the next one."""
    async with supervised(SLOW) as client:
        answer, params = "", SamplingParams(max_tokens=30, seed=1, ignore_eos=True)
        async with aclosing(generate(client, "hello", params)) as deltas:
            async for delta in deltas:
                answer += delta.text
                if len(answer) == 5 and not client.health.restarts:
                    assert client.health.worker
                    client.health.worker._reader.feed_data(b"\xff" * 100)
        assert plain("hello", ctx=2048, seed=1, max_tokens=30, ignore_eos=True) == answer
        assert "it sent what cannot be understood" in (client.health.last_exit or "")


async def test_bug_in_the_supervisor_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The daemon would otherwise wait for ever; the service manager sees the failure."""
    async with supervised(FAKE) as client:
        await client.ready()

        async def broken(exit: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(client._launcher, "adapt", broken)
        kill(client)
        await eventually(lambda: client.health.state == "failed")
        assert not client.health.healthy
        with pytest.raises(EdgeinferError, match="a bug"):
            await client.ready()
