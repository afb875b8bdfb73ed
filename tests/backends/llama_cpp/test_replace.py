"""One worker takes the place of another while answers are being written."""

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
from tests.support.worker_faults import faulty

PARAMS = SamplingParams(max_tokens=60, ignore_eos=True, seed=3, temperature=0.8)
EXPECTED = plain("hello", ctx=2048, seed=3, temperature=0.8, max_tokens=60, ignore_eos=True)
OTHER = replace(SLOW, name="other", parallel=3)


async def rest(deltas: AsyncGenerator[Delta, None]) -> str:
    return "".join([delta.text async for delta in deltas])


@pytest.mark.parametrize("beside", [True, False])
async def test_what_runs_ends_where_it_is_and_what_comes_goes_to_the_new_one(beside: bool) -> None:
    """The old worker is gone when all it had to do is done."""
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
async def test_what_is_not_done_in_time_goes_on_with_the_same_model(beside: bool) -> None:
    """Other settings are no other model."""
    async with supervised(SLOW) as client:
        found, tokens, after = "", 0, 20
        replacing = None
        async with aclosing(generate(client, "hello", replace(PARAMS, max_tokens=None))) as deltas:
            async for delta in deltas:
                found, tokens = found + delta.text, tokens + len(delta.tokens)
                if replacing is None:
                    replacing = asyncio.create_task(client.replace(OTHER, beside=beside, drain=0.0))
                after -= client.health.resumed
                if not after:
                    break
        assert 1 == client.health.resumed
        expected = plain("hello", ctx=2048, seed=3, temperature=0.8, ignore_eos=True, max_tokens=tokens)
        assert expected == found


async def test_what_is_not_done_in_time_ends_with_an_error_where_the_model_is_another(
    model_file: Path,
) -> None:
    """Half an answer of each would be none."""
    async with supervised(SLOW) as client:
        deltas = generate(client, "hello", replace(PARAMS, max_tokens=None))
        await anext(deltas)
        running = asyncio.create_task(rest(deltas))
        real = LlamaConfig(str(model_file), "real", ctx=256, parallel=2, cells=768, batch=64)
        await client.replace(real, beside=True, drain=0.0)
        with pytest.raises(ModelReplaced, match="replaced"):
            await running
        assert "real" == (await client.ready()).name


async def test_a_file_that_was_replaced_is_another_model(tmp_path: Path, model_file: Path) -> None:
    """Its worker may die, and the next one finds another file under the same name."""
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
@pytest.mark.parametrize("how", ["SIGSEGV", "broken"])
async def test_if_the_new_one_fails_the_old_one_goes_on(
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


async def test_one_that_dies_while_its_successor_loads_is_succeeded_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answers go on, with whoever is there."""
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
    assert not _workers()


async def test_replacements_come_one_after_the_other() -> None:
    """Never more than two workers at a time, and in the end one."""
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
            most = max(most, len(_workers()))
            await asyncio.sleep(0.01)
        assert names == [(await task).name for task in replacing]
        assert EXPECTED == begun + await running
        assert most <= 2
        await eventually(lambda: len(_workers()) == 1)


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("looks", [0, 1, 3, 10, 100])
async def test_stopping_in_the_middle_of_a_replacement_leaves_no_process(beside: bool, looks: int) -> None:
    """At whatever point."""
    async with supervised(FAKE) as client:
        await client.ready()
        replacing = asyncio.create_task(client.replace(OTHER, beside=beside, drain=60))
        for _ in range(looks):
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(ShuttingDown):
            await replacing
    assert not _workers()


async def test_whoever_gives_up_a_replacement_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no process beside it."""
    faulty(monkeypatch, load=[{"if": {"name": "other"}, "how": "hang"}])
    async with supervised(FAKE) as client:
        await client.ready()
        replacing = asyncio.create_task(client.replace(OTHER, beside=True, drain=60))
        await eventually(lambda: len(_workers()) == 2)
        replacing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replacing
        assert 3 == len(await text(client))
        assert 1 == len(_workers())


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("looks", [0, 1, 2, 3, 5, 10, 30, 100, 300])
async def test_given_up_at_any_point_there_is_one_worker_and_it_is_kept(beside: bool, looks: int) -> None:
    """Whichever that is: it answers, and is started again when it dies."""
    async with supervised(FAKE) as client:
        await client.ready()
        replacing = asyncio.create_task(client.replace(OTHER, beside=beside, drain=60))
        for _ in range(looks):
            await asyncio.sleep(0)
        replacing.cancel()
        await asyncio.wait([replacing])
        assert 3 == len(await text(client))
        await eventually(lambda: len(_workers()) == 1)
        restarts = client.health.restarts
        kill(client)
        await eventually(lambda: client.health.restarts > restarts)
        assert 3 == len(await text(client))
    assert not _workers()


async def test_the_new_one_is_kept_like_the_old_one() -> None:
    """It is restarted when it dies, as itself."""
    async with supervised(SLOW) as client:
        await client.ready()
        await client.replace(OTHER, beside=True, drain=0)
        kill(client, signal.SIGSEGV)
        await eventually(lambda: client.health.restarts)
        assert "other" == (await client.ready()).name


def _workers() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if any("worker" in word for word in _words(p))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
