"""A worker is replaced by another while answers are streaming."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ModelLoadFailed, ModelReplaced, ShuttingDown
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import plain
from tests.support.llama_client import (
    FAKE,
    SLOW,
    eventually,
    generate,
    kill,
    pid,
    supervised,
    text,
)
from tests.support.processes import children
from tests.support.worker_faults import faulty

PARAMS = SamplingParams(max_tokens=60, ignore_eos=True, seed=3, temperature=0.8)
EXPECTED = plain("hello", ctx=2048, seed=3, temperature=0.8, max_tokens=60, ignore_eos=True)
OTHER = replace(SLOW, name="other", parallel=3)


async def rest(deltas: AsyncGenerator[Delta, None]) -> str:
    return "".join([delta.text async for delta in deltas])


@pytest.mark.parametrize("beside", [True, False])
async def test_running_requests_end_in_the_old_worker_and_new_ones_go_to_the_new(beside: bool) -> None:
    """The old worker is gone when its requests have ended."""
    async with supervised(SLOW) as client:
        deltas = generate(client, "hello", PARAMS)
        begun = (await anext(deltas)).text
        first = psutil.Process(pid(client))
        running = asyncio.create_task(rest(deltas))
        switched: list[bool] = []
        replacing = asyncio.create_task(
            client.replace(OTHER, beside=beside, drain=60, switched=lambda: switched.append(True))
        )
        assert 3 == len(await text(client, "waits for one of them"))
        assert "other" == (await replacing).name
        assert [True] == switched
        assert pid(client) != first.pid
        assert EXPECTED == begun + await running
        await eventually(lambda: not first.is_running())
        assert (OTHER, "ready", 0, 0) == (
            client.config,
            client.health.state,
            client.health.restarts,
            client.health.resumed,
        )


@pytest.mark.parametrize("beside", [True, False])
async def test_what_is_not_done_in_time_resumes_if_the_model_is_the_same(beside: bool) -> None:
    """Other settings do not make another model."""
    async with supervised(SLOW) as client:
        answer, tokens, after = "", 0, 20
        replacing = None
        async with aclosing(generate(client, "hello", replace(PARAMS, max_tokens=None))) as deltas:
            async for delta in deltas:
                answer, tokens = answer + delta.text, tokens + len(delta.tokens)
                if replacing is None:
                    replacing = asyncio.create_task(client.replace(OTHER, beside=beside, drain=0.0))
                after -= client.health.resumed
                if not after:
                    break
        assert 1 == client.health.resumed
        expected = plain("hello", ctx=2048, seed=3, temperature=0.8, ignore_eos=True, max_tokens=tokens)
        assert expected == answer


async def test_what_is_not_done_in_time_fails_if_the_model_is_another(
    model_file: Path,
) -> None:
    """Half an answer of each would be wrong."""
    async with supervised(SLOW) as client:
        deltas = generate(client, "hello", replace(PARAMS, max_tokens=None))
        await anext(deltas)
        running = asyncio.create_task(rest(deltas))
        real = LlamaConfig(str(model_file), "real", ctx=256, parallel=2, cells=768, batch=64)
        await client.replace(real, beside=True, drain=0.0)
        with pytest.raises(ModelReplaced, match="replaced"):
            await running
        assert "real" == (await client.ready()).name


async def test_file_that_was_replaced_is_another_model(tmp_path: Path, model_file: Path) -> None:
    """The worker may die, and the next one loads another file under the same name."""
    path = tmp_path / "m.gguf"
    shutil.copy(model_file, path)
    real = LlamaConfig(str(path), "real", ctx=256, parallel=2, cells=768, batch=64)
    async with supervised(real) as client:
        await client.ready()
        deltas = generate(client, "hello", SamplingParams(ignore_eos=True))
        await anext(deltas)
        shutil.copy(model_file, tmp_path / "new")
        os.utime(tmp_path / "new", (1, 1))
        os.rename(tmp_path / "new", path)  # noqa: PTH104
        kill(client)
        with pytest.raises(ModelReplaced, match="replaced"):
            await rest(deltas)


@pytest.mark.parametrize("beside", [True, False])
async def test_prompt_is_never_answered_by_another_model_than_it_was_made_for(beside: bool) -> None:
    """A request that waits while the model is replaced is told so, whenever it came."""
    async with supervised(SLOW) as client:
        revision = (await client.ready()).revision
        deltas = generate(client, "hello", PARAMS, revision=revision)  # which the replacement has to wait for
        begun = (await anext(deltas)).text
        running = asyncio.create_task(rest(deltas))
        replacing = asyncio.create_task(client.replace(replace(FAKE, name="other"), beside=beside, drain=60))
        requests = list[asyncio.Task[str]]()
        while not replacing.done():
            requests.append(asyncio.create_task(text(client, revision=revision)))
            await asyncio.sleep(0.02)
        requests.append(asyncio.create_task(text(client, revision=revision)))
        new = await replacing
        assert revision != new.revision
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, ModelReplaced)]
        answers = [outcome for outcome in outcomes if isinstance(outcome, str)]
        assert len(outcomes) == len(refused) + len(answers)
        assert {3} >= {len(answer) for answer in answers}
        assert {("model_replaced", 1)} == {(error.code, error.retry_after) for error in refused}
        assert all("send the request again" in error.message for error in refused)
        assert answers or not beside
        assert EXPECTED == begun + await running
        assert 0 == client.health.stats.prompt_tokens_total  # the new worker has generated nothing
        assert 3 == len(await text(client, revision=new.revision))


async def test_revision_stays_as_long_as_the_file_does(tmp_path: Path, model_file: Path) -> None:
    """Neither a restart nor other settings change it; another file under the same name does."""
    path = tmp_path / "m.gguf"
    shutil.copy(model_file, path)
    real = LlamaConfig(str(path), "real", ctx=256, parallel=2, cells=768, batch=64)
    async with supervised(real) as client:
        first = (await client.ready()).revision
        assert first
        kill(client)
        await eventually(lambda: client.health.restarts and client.info)
        assert first == (await client.ready()).revision
        assert first == (await client.replace(replace(real, ctx=128), beside=True, drain=0)).revision
        os.utime(path, (1, 1))
        assert first != (await client.replace(real, beside=True, drain=0)).revision
        with pytest.raises(ModelReplaced):
            await text(client, revision=first)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("how", ["SIGSEGV", "broken"])
async def test_if_the_new_worker_fails_the_old_one_goes_on(
    how: str, beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost but time."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    async with supervised(SLOW) as client:
        deltas = generate(client, "hello", PARAMS)
        begun = (await anext(deltas)).text
        running = asyncio.create_task(rest(deltas))
        faulty(monkeypatch, load=[{"if": {"name": "other"}, "how": "SIGSEGV"}])
        new = OTHER if how == "SIGSEGV" else replace(OTHER, model=str(broken), name="broken")
        with pytest.raises(ModelLoadFailed):
            await client.replace(new, beside=beside, drain=60)
        assert EXPECTED == begun + await running
        assert "fake" == (await client.ready()).name
        assert (SLOW, []) == (client.config, client.config_changes)
        assert 3 == len(await text(client))


async def test_old_worker_may_die_while_the_new_one_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answers resume in whichever worker is ready."""
    faulty(monkeypatch)
    async with supervised(SLOW) as client:
        deltas = generate(client, "hello", PARAMS)
        begun = (await anext(deltas)).text
        running = asyncio.create_task(rest(deltas))
        replacing = asyncio.create_task(client.replace(OTHER, beside=True, drain=60))
        kill(client)
        await replacing
        assert EXPECTED == begun + await running
        assert "other" == (await client.ready()).name
    assert not children("worker")


async def test_replacements_are_made_one_after_the_other() -> None:
    """There are never more than two workers at a time, and one in the end."""
    async with supervised(SLOW) as client:
        await client.ready()
        deltas = generate(client, "hello", PARAMS)
        begun = (await anext(deltas)).text
        running = asyncio.create_task(rest(deltas))
        names = [f"model {i}" for i in range(3)]
        replacing = [
            asyncio.create_task(client.replace(replace(SLOW, name=n), beside=True, drain=60)) for n in names
        ]
        most = 0
        while not all(task.done() for task in replacing):
            most = max(most, len(children("worker")))
            await asyncio.sleep(0.01)
        assert names == [(await task).name for task in replacing]
        assert EXPECTED == begun + await running
        assert most <= 2
        await eventually(lambda: len(children("worker")) == 1)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("looks", [0, 1, 3, 10, 100])
async def test_closing_during_a_replacement_leaves_no_process(beside: bool, looks: int) -> None:
    """It may come at any point."""
    async with supervised(FAKE) as client:
        await client.ready()
        replacing = asyncio.create_task(client.replace(OTHER, beside=beside, drain=60))
        for _ in range(looks):
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ShuttingDown):
            await replacing
    assert not children("worker")


async def test_closing_right_after_a_replacement_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old worker may take its time to end."""
    monkeypatch.setattr("edgeinfer.backends.llama_cpp.handle.STOP_TIMEOUT", 2.0)
    async with supervised(FAKE) as client:
        await client.ready()
        kill(client, signal.SIGSTOP)
        await client.replace(OTHER, beside=True, drain=0)
        await asyncio.sleep(0.1)
    assert not children("worker")


async def test_cancelled_replacement_leaves_the_old_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left beside it."""
    faulty(monkeypatch, load=[{"if": {"name": "other"}, "how": "hang"}])
    async with supervised(FAKE) as client:
        await client.ready()
        replacing = asyncio.create_task(client.replace(OTHER, beside=True, drain=60))
        await eventually(lambda: len(children("worker")) == 2)
        replacing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replacing
        assert 3 == len(await text(client))
        assert 1 == len(children("worker"))


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("looks", [0, 1, 2, 3, 5, 10, 30, 100, 300])
async def test_after_a_replacement_cancelled_at_any_point_one_worker_is_supervised(
    beside: bool, looks: int
) -> None:
    """Whichever that is, it answers, and is restarted when it dies."""
    async with supervised(FAKE) as client:
        await client.ready()
        replacing = asyncio.create_task(client.replace(OTHER, beside=beside, drain=60))
        for _ in range(looks):
            await asyncio.sleep(0)
        replacing.cancel()
        await asyncio.wait([replacing])
        assert 3 == len(await text(client))
        await eventually(lambda: len(children("worker")) == 1)
        restarts = client.health.restarts
        kill(client)
        await eventually(lambda: client.health.restarts > restarts)
        assert 3 == len(await text(client))
    assert not children("worker")


async def test_new_worker_is_supervised_like_the_old_one() -> None:
    """It is restarted with its own configuration when it dies."""
    async with supervised(SLOW) as client:
        await client.ready()
        await client.replace(OTHER, beside=True, drain=0)
        kill(client, signal.SIGSEGV)
        await eventually(lambda: client.health.restarts)
        assert "other" == (await client.ready()).name
