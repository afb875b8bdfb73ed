"""What a daemon has loaded first is read by the next one's first worker, before that is told what to load."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp import spawn
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.first_load import (
    MAX_RECORDS,
    FirstLoad,
    read_first_load,
    remember_first_load,
)
from edgeinfer.backends.llama_cpp.messages import Load, PrefixCacheConfig
from edgeinfer.backends.llama_cpp.worker import early_model
from edgeinfer.hardware.memory import Memory
from edgeinfer.inference.sampling import SamplingParams
from tests.support.daemon import edgeinfer
from tests.support.llama_client import eventually, supervised, text
from tests.support.processes import children

ANSWER = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True)


@pytest.fixture(autouse=True)
def nothing_ahead() -> None:
    spawn.discard()


@pytest.fixture
def model(model_file: Path, tmp_path: Path) -> LlamaConfig:
    path = tmp_path / "model.gguf"
    shutil.copyfile(model_file, path)
    return LlamaConfig(str(path), "nano", ctx=256, parallel=1, cells=512, batch=64, threads=1)


@pytest.fixture
def record(model: LlamaConfig, tmp_path: Path) -> Path:
    """The record of a daemon that has loaded `model`."""
    path = tmp_path / "records" / "record.json"
    remember_first_load(path, FirstLoad.of(Load(model)))
    return path


def ahead(record: Path) -> subprocess.Popen[bytes]:
    spawn.start_ahead(record)
    return spawn._ahead[-1].process


def remembered(record: Path) -> LlamaConfig:
    first = read_first_load(record.read_bytes())
    assert first
    assert 0o600 == record.stat().st_mode & 0o777
    return first.load.config


async def has_read(process: subprocess.Popen[bytes], model: LlamaConfig) -> None:
    """Wait until a worker has mapped the model."""
    maps = Path(f"/proc/{process.pid}/maps")
    await eventually(lambda: model.model in maps.read_text())


async def is_taken(process: subprocess.Popen[bytes], config: LlamaConfig) -> bool:
    """Load a model and let it answer; tell whether that worker did so."""
    async with supervised(config) as client:
        info = await client.ready()
        assert info.path == config.model
        assert await text(client, "Hello", ANSWER)
        return process.pid == client.health.pid


async def test_a_worker_reads_what_was_loaded_first_the_last_time(model: LlamaConfig, record: Path) -> None:
    process = ahead(record)
    await has_read(process, model)
    assert await is_taken(process, model)


async def test_what_the_plan_changes_after_reading_holds(model: LlamaConfig, record: Path) -> None:
    """Available memory is another each time, and with it the context and the caches."""
    process = ahead(record)
    async with supervised(replace(model, ctx=512, cells=1024, ram_cache_mb=64)) as client:
        info = await client.ready()
        assert 512 == info.ctx
        assert process.pid == client.health.pid


async def test_answers_are_the_same(model: LlamaConfig, record: Path) -> None:
    async with supervised(model) as client:
        expected = await text(client, "Hello", ANSWER)
    process = ahead(record)
    async with supervised(model) as client:
        await client.ready()
        assert process.pid == client.health.pid
        assert expected == await text(client, "Hello", ANSWER)


async def test_the_next_worker_goes_on_from_what_this_one_leaves(
    model: LlamaConfig, record: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes over the memory for that when it is confined already."""
    process = ahead(record)
    kept = replace(model, ram_cache_mb=64)
    async with supervised(kept) as client:
        await client.ready()
        expected = await text(client, "Hello", ANSWER)
        assert process.pid == client.health.pid
        process.kill()
        assert expected == await text(client, "Hello", ANSWER)
    assert "outlive" not in caplog.text


async def test_another_model_gets_another_worker(model: LlamaConfig, record: Path, model_file: Path) -> None:
    """The one that has read the first may reach no other file."""
    process = ahead(record)
    await has_read(process, model)
    assert not await is_taken(process, replace(model, model=str(model_file)))
    await eventually(lambda: process.poll() is not None)


@pytest.mark.parametrize(
    "change", [{"mmap": False}, {"repack": False}, {"cpus": (0,)}, {"draft_model": "draft.gguf"}]
)
def test_a_model_that_is_read_otherwise_does_not_suit(change: dict[str, object], model: LlamaConfig) -> None:
    first = FirstLoad.of(Load(model))
    assert first.suits(Load(model))
    assert not first.suits(Load(replace(model, **change)))


def test_a_process_that_may_do_other_things_does_not_suit(model: LlamaConfig) -> None:
    first = FirstLoad.of(Load(model))
    assert not first.suits(Load(model, confine=False))
    assert not first.suits(Load(model, prefix_cache=PrefixCacheConfig("/elsewhere", 100)))


async def test_a_file_that_was_replaced_is_read_again(model: LlamaConfig, record: Path) -> None:
    process = ahead(record)
    await has_read(process, model)
    copy = Path(model.model).with_suffix(".new")
    shutil.copyfile(model.model, copy)
    copy.replace(model.model)
    assert not await is_taken(process, model)


async def test_a_file_that_is_gone_is_not_read(model: LlamaConfig, record: Path, model_file: Path) -> None:
    """The worker is as free as any other, then."""
    await asyncio.to_thread(Path(model.model).unlink)
    process = ahead(record)
    other = replace(model, model=str(model_file))
    async with supervised(other) as client:
        await client.ready()
        assert await text(client, "Hello", ANSWER)
    assert process.poll() is not None


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"load":["Load",{}]}', b'{"x":' + b"[" * 20_000, b"x" * (1 << 20)]
)
async def test_a_record_that_cannot_be_read_is_ignored(
    content: bytes, model: LlamaConfig, record: Path
) -> None:
    await asyncio.to_thread(record.write_bytes, content)
    assert await is_taken(ahead(record), model)


def test_a_record_that_others_may_write_is_ignored(model: LlamaConfig, record: Path) -> None:
    record.chmod(0o666)
    spawn.start_ahead(record)
    assert b"" == spawn._ahead[-1].content


def test_a_model_without_memory_for_it_waits_for_the_plan(model: LlamaConfig, record: Path) -> None:
    """The plan may say that it does not fit, and must not come too late."""
    os.truncate(model.model, 8 << 40)
    remember_first_load(record, FirstLoad.of(Load(model)))
    assert early_model.read_early(record.read_bytes()) is None


def test_a_cgroup_without_memory_for_it_waits_for_the_plan(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a container may take counts, not what its machine has."""
    left = Memory(total=64 << 30, available=1 << 20, limit=1 << 30)
    monkeypatch.setattr(early_model, "memory", lambda root: left)
    assert early_model.read_early(record.read_bytes()) is None


async def test_a_worker_that_is_reading_ends_at_once_if_none_is_needed(record: Path) -> None:
    process = ahead(record)
    spawn.discard()
    assert 0 != await asyncio.to_thread(process.wait, 60)


async def test_the_first_worker_is_remembered_once_it_is_ready(model: LlamaConfig, tmp_path: Path) -> None:
    record = tmp_path / "cache" / "first.json"
    process = ahead(record)
    assert not record.exists()
    assert await is_taken(process, model)
    assert model == await asyncio.to_thread(remembered, record)


async def test_a_replaced_worker_is_remembered_too(
    model: LlamaConfig, record: Path, model_file: Path
) -> None:
    process = ahead(record)
    other = replace(model, model=str(model_file))
    assert not await is_taken(process, other)
    assert other == await asyncio.to_thread(remembered, record)


def test_a_model_on_a_gpu_is_not_remembered(model: LlamaConfig, record: Path) -> None:
    """The plan measures what is free on the GPU, so nothing may be there before."""
    remember_first_load(record, FirstLoad.of(Load(replace(model, gpu_layers=-1))))
    assert not record.exists()


def test_a_model_that_is_not_confined_is_not_remembered(model: LlamaConfig, record: Path) -> None:
    """The setting may be on again the next time."""
    remember_first_load(record, FirstLoad.of(Load(model, confine=False)))
    assert not record.exists()


def test_another_version_reads_nothing_early(model: LlamaConfig) -> None:
    """It may refuse the file."""
    assert FirstLoad.of(Load(model)).is_unchanged
    assert not msgspec.structs.replace(FirstLoad.of(Load(model)), versions="0.0.1 0.0.2").is_unchanged


def test_a_file_that_was_written_to_is_another_even_if_its_date_is_the_same(model: LlamaConfig) -> None:
    first, path = FirstLoad.of(Load(model)), Path(model.model)
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"GGUF")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not first.is_unchanged


def test_a_name_that_no_file_can_have_is_no_file(model: LlamaConfig) -> None:
    assert not FirstLoad.of(Load(replace(model, model="a\0b"))).is_unchanged


def test_a_draft_model_that_was_replaced_is_read_with_the_rest(model: LlamaConfig, tmp_path: Path) -> None:
    draft = tmp_path / "draft.gguf"
    draft.touch()
    first = FirstLoad.of(Load(replace(model, draft_model=str(draft))))
    assert first.is_unchanged
    draft.unlink()
    assert not first.is_unchanged


def test_a_model_that_another_backend_computes_is_forgotten(record: Path) -> None:
    ahead(record)
    spawn.discard(forget=True)
    assert not record.exists()


def test_a_pipe_is_no_record(tmp_path: Path) -> None:
    """Opening one would wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    spawn.start_ahead(pipe)
    assert b"" == spawn._ahead[-1].content


async def test_a_worker_that_is_reading_ends_with_its_daemon(model: LlamaConfig, record: Path) -> None:
    """A callback while it reads, or else its next message, tells it."""
    process = ahead(record)
    await has_read(process, model)
    with process:
        spawn._ahead.pop().socket.close()
        assert 0 == await asyncio.to_thread(process.wait, 60)


def test_few_records_are_kept(model: LlamaConfig, tmp_path: Path) -> None:
    for number in range(2 * MAX_RECORDS):
        remember_first_load(tmp_path / "records" / f"{number}.json", FirstLoad.of(Load(model)))
    assert MAX_RECORDS == len(list((tmp_path / "records").iterdir()))
    assert (tmp_path / "records" / f"{2 * MAX_RECORDS - 1}.json").exists()


def test_a_folder_that_cannot_be_written_stops_nothing(model: LlamaConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remember_first_load(tmp_path / "file" / "record.json", FirstLoad.of(Load(model)))


def test_each_way_to_start_has_its_own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"CACHE_DIRECTORY": "/var/cache/edgeinfer", "EDGEINFER_CTX": "512"}
    records = {
        spawn.record_of(["serve", "a"], environ),
        spawn.record_of(["serve", "b"], environ),
        spawn.record_of(["serve", "a"], environ | {"EDGEINFER_CTX": "1024"}),
    }
    monkeypatch.chdir("/")
    records.add(spawn.record_of(["serve", "a"], environ))
    assert 4 == len(records)
    assert spawn.record_of(["serve", "a"], environ | {"PATH": "/bin"}) in records


def test_a_deleted_directory_has_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert spawn.record_of(["serve"]) is None


def test_a_record_survives_being_written_and_read(model: LlamaConfig) -> None:
    first = FirstLoad.of(Load(model, ("<think>",), PrefixCacheConfig("/cache", 10)))
    assert first == read_first_load(msgspec.json.encode(first))


@pytest.mark.slow
def test_a_daemon_that_is_started_again_takes_the_worker_that_has_read_its_model(
    model: LlamaConfig, tmp_path: Path
) -> None:
    for start in range(2):
        with edgeinfer(tmp_path, "--model", model.model, "--port", "0") as daemon:
            daemon.wait_for("READY=1\nSTATUS=serving model")
            workers = children(spawn.MODULE, daemon.process.pid)
            assert ["ahead"] == [worker.cmdline()[-1] for worker in workers], start
            (record,) = (tmp_path / ".cache" / "edgeinfer" / "first-loads").iterdir()
            assert model.model == remembered(record).model
            assert 0 == daemon.end()
