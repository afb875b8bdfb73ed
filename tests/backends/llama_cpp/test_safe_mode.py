"""A model that crashes in its self-test, or lacks memory or a GPU, is loaded with another configuration."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.launcher import WorkerLauncher
from edgeinfer.backends.llama_cpp.safe_mode import (
    ConfigOverride,
    LoadAttempt,
    SafeModeStore,
    differences,
    read_overrides,
    safer,
    smaller,
)
from edgeinfer.backends.supervision.worker_exit import CRASHES, WorkerExit, first_fault, oom_kills
from edgeinfer.errors import EdgeinferError, ModelLoadFailed, NoGPU
from edgeinfer.inference.sampling import SamplingParams
from tests.support.engine import plain
from tests.support.llama_client import FAKE, SLOW, eventually, generate, kill, supervised, text
from tests.support.worker_faults import faulty

CRASH = WorkerExit(-signal.SIGILL)
KILLED = WorkerExit(-signal.SIGKILL)
FAILED = ModelLoadFailed("no")


def ladder(config: LlamaConfig, step: Any) -> list[LlamaConfig]:
    """Take `step` until nothing is left to change."""
    configs = [config]
    while less := step(configs[-1]):
        configs.append(less)
    return configs[1:]


# --- configurations that demand less


def test_each_safer_configuration_leaves_out_one_more_thing() -> None:
    """They are what crashes on some machines: repacking, mapping, threads, the GPU."""
    config = replace(FAKE, threads=4, gpu_layers=-1)
    assert [
        (False, True, 4, -1),
        (False, False, 4, -1),
        (False, False, 1, -1),
        (False, False, 1, 0),
    ] == [(c.repack, c.mmap, c.threads, c.gpu_layers) for c in ladder(config, safer)]


def test_smaller_configurations_reduce_parallel_then_the_layout_then_the_context() -> None:
    """Down to a useless size, none takes more memory than the one before."""
    config = LlamaConfig("m", "m", ctx=4096, parallel=8, cells=9 * 4096)
    configs = ladder(config, smaller)
    assert [
        (4, "streams", 4096, True, 5 * 4096),
        (2, "streams", 4096, True, 3 * 4096),
        (1, "streams", 4096, True, 2 * 4096),
        (1, "unified", 4096, True, 4096),
        (1, "unified", 4096, False, 4096),
        (1, "unified", 2048, False, 2048),
        (1, "unified", 1024, False, 1024),
        (1, "unified", 512, False, 512),
    ] == [(c.parallel, c.layout, c.ctx, c.repack, c.cells) for c in configs]
    assert all(c.cells >= c.ctx for c in configs)
    pool = ladder(LlamaConfig("m", "m", ctx=2048, parallel=8, layout="unified", cells=5000), smaller)
    assert [4096, 2048, 2048, 2048] == [c.cells for c in pool[:4]]


def test_a_draft_model_is_the_first_thing_to_do_without() -> None:
    config = replace(FAKE, draft_model="fake", parallel=2)
    for step in (safer, smaller):
        assert step(config) == replace(config, draft_model=None)


def test_a_draft_model_that_crashes_is_remembered(tmp_path: Path) -> None:
    store = SafeModeStore(tmp_path / "fallback.json")
    config = replace(FAKE, draft_model="fake")
    store.remember(config, replace(config, draft_model=None), "crash")
    override = store.get(config)
    assert override
    assert override.applied(config) == replace(config, draft_model=None)


EXACT = replace(FAKE, determinism="by_row", flash_attention=False, kv_type="f16", gpu_layers=0)


def test_nothing_is_promised_that_a_safer_configuration_does_not_keep() -> None:
    override = ConfigOverride("crash", repack=False)
    assert "by_row" == EXACT.determinism
    for config in (safer(EXACT), override.applied(EXACT), smaller(replace(EXACT, parallel=1))):
        assert config
        assert ("none", 15) == (config.determinism, config.max_draft)
    kept = smaller(EXACT)
    assert kept
    assert "by_row" == kept.determinism


def test_what_has_to_be_deterministic_stays_so_in_a_safer_configuration() -> None:
    """Answers are computed one at a time then."""
    wanted = replace(EXACT, deterministic=True)
    override = ConfigOverride("crash", repack=False)
    for config in (safer(wanted), override.applied(wanted), smaller(replace(wanted, parallel=1))):
        assert config
        assert ("alone", 1, 0) == (config.determinism, config.parallel, config.max_draft)
        assert config.layout == "unified" or config.cells == config.slots * config.ctx


def test_differences_are_described_in_words() -> None:
    """Switches are on or off."""
    assert "repack off instead of on" == differences(FAKE, replace(FAKE, repack=False))
    assert "ctx 512 instead of 2048, parallel 4 instead of 8" == differences(
        FAKE, replace(FAKE, parallel=4, ctx=512)
    )


@pytest.mark.parametrize(
    ("error", "exit", "expected"),
    [
        (FAILED, CRASH, safer(FAKE)),
        (FAILED, WorkerExit(-signal.SIGSEGV), safer(FAKE)),
        (FAILED, WorkerExit(-signal.SIGABRT, "terminate: what():  std::bad_alloc"), smaller(FAKE)),
        (FAILED, replace(KILLED, oom_killed=True), smaller(FAKE)),
        (FAILED, WorkerExit(1, "MemoryError"), smaller(FAKE)),
        (ModelLoadFailed("x: failed to allocate buffer"), None, smaller(FAKE)),
        (ModelLoadFailed("x: no GGUF"), None, None),
        (ModelLoadFailed("x: no GGUF"), WorkerExit(1), None),
        (FAILED, replace(KILLED, kill_reason="stopped"), None),
        (NoGPU("none"), None, replace(FAKE, gpu_layers=0)),
    ],
    ids=str,
)
def test_failure_decides_the_next_configuration(
    error: EdgeinferError, exit: WorkerExit | None, expected: LlamaConfig | None
) -> None:
    """It is safer after a crash, smaller for want of memory, and the CPU's without a GPU."""
    assert expected == LoadAttempt(FAKE).next_config(FAKE, error, exit)


def test_unexplained_kill_is_retried_twice() -> None:
    """The configuration stays the same."""
    attempt = LoadAttempt(FAKE)
    assert [FAKE, FAKE, None] == [attempt.next_config(FAKE, FAILED, KILLED) for _ in range(3)]


# --- exits


@pytest.mark.parametrize(
    ("exit", "words", "properties"),
    [
        (WorkerExit(1), "exit status 1", ""),
        (WorkerExit(-signal.SIGSEGV, "Fatal Python error: Segmentation fault"), "SIGSEGV: Fatal", "crashed"),
        (replace(KILLED, oom_killed=True), "SIGKILL: the system ran out of memory", "out_of_memory"),
        (replace(KILLED, kill_reason="it hung"), "SIGKILL: it hung", ""),
        (
            WorkerExit(-signal.SIGABRT, "CUDA error: unspecified launch failure"),
            "SIGABRT: CUDA",
            "crashed lost_gpu",
        ),
        (WorkerExit(-signal.SIGABRT, "what():  std::bad_alloc"), "SIGABRT: what", "crashed out_of_memory"),
        (WorkerExit(-200), "exit status -200", ""),
    ],
    ids=str,
)
def test_exit_describes_itself(exit: WorkerExit, words: str, properties: str) -> None:
    """Its text names the signal and the cause, its properties what they mean."""
    assert str(exit).startswith(words)
    of = ("crashed", "out_of_memory", "lost_gpu")
    assert properties.split() == [name for name in of if getattr(exit, name)]


@pytest.mark.parametrize(
    ("status", "cause", "first"),
    [
        (-signal.SIGSEGV, "Fatal Python error: Aborted", -signal.SIGABRT),
        (-signal.SIGSEGV, "Fatal Python error: Illegal instruction", -signal.SIGILL),
        (-signal.SIGABRT, "Fatal Python error: Aborted", -signal.SIGABRT),
        (-signal.SIGSEGV, "GGML_ASSERT(n > 0) failed", -signal.SIGSEGV),
        (-signal.SIGKILL, "Fatal Python error: Aborted", -signal.SIGKILL),
        (1, "Fatal Python error: Aborted", 1),
    ],
)
def test_a_crash_while_the_stacks_are_printed_does_not_hide_the_first(
    status: int, cause: str, first: int
) -> None:
    """The stacks of running threads cannot always be read."""
    assert first_fault(status, cause) == first


def test_python_calls_the_signals_by_the_names_we_know() -> None:
    """Each is sent to a process with the fault handler on."""
    for number in CRASHES:
        program = f"import faulthandler, os; faulthandler.enable(); os.kill(os.getpid(), {number})"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == -number
        assert first_fault(-signal.SIGSEGV, done.stderr.split("\n")[0]) == -number


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/vmstat": "nr_free_pages 5\noom_kill 3\n"}, 3),
        ({"proc/vmstat": "nr_free_pages 5\n"}, None),
        (
            {
                "proc/vmstat": "oom_kill 3\n",
                "proc/self/cgroup": "0::/system.slice/edgeinfer.service\n",
                "sys/fs/cgroup/system.slice/edgeinfer.service/memory.events": "oom 9\noom_kill 8\n",
            },
            8,
        ),
        ({"proc/vmstat": "oom_kill 3\n", "proc/self/cgroup": "4:memory:/x\n0::/\n"}, 3),
        ({"proc/vmstat": "oom_kill what\n", "proc/self/cgroup": "0::/../../x\n"}, None),
    ],
    ids=str,
)
def test_kernel_counts_kills_for_memory(tmp_path: Path, files: dict[str, str], expected: int | None) -> None:
    """Our control group's count comes before the system's."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert expected == oom_kills(str(tmp_path))


# --- the store


def test_override_is_remembered_for_its_file_alone(tmp_path: Path) -> None:
    """Another file, or a new one in its place, may well do without."""
    model = tmp_path / "m.gguf"
    model.write_bytes(b"one")
    config = replace(FAKE, model=str(model), threads=4)
    store = SafeModeStore(tmp_path / "state" / "fallback.json")
    assert store.get(config) is None
    store.remember(config, replace(config, repack=False, threads=1), "SIGILL in the self-test")
    again = SafeModeStore(tmp_path / "state" / "fallback.json").get(config)
    assert again is not None
    assert replace(config, repack=False, threads=1) == again.applied(config)
    assert replace(config, repack=False, threads=1, mmap=False) == again.applied(
        replace(config, mmap=False, repack=False, threads=2)
    )
    assert {str(model): again} == read_overrides(tmp_path / "state" / "fallback.json")
    assert store.get(replace(config, model="another")) is None
    model.write_bytes(b"another one")
    assert store.get(config) is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": {}}', '{"a": {"reason": 1}}'])
def test_broken_store_is_ignored_and_written_again(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    path = tmp_path / "fallback.json"
    path.write_text(content)
    store = SafeModeStore(path)
    assert store.get(FAKE) is None
    assert str(path) in caplog.text
    store.remember(FAKE, replace(FAKE, repack=False), "SIGILL")
    assert store.get(FAKE) is not None
    assert 1 == len(json.loads(path.read_text()))
    assert [path] == list(tmp_path.iterdir())


def test_store_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""
    (tmp_path / "file").write_text("")
    SafeModeStore(tmp_path / "file" / "fallback.json").remember(FAKE, replace(FAKE, repack=False), "SIGILL")
    assert "could not be remembered" in caplog.text


# --- workers


async def test_crash_in_the_self_test_leads_to_an_override_for_good(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start knows it, and does not crash at all."""
    real = LlamaConfig(str(model_file), "real", ctx=256, parallel=2, cells=768, batch=64, threads=1)
    faulty(
        monkeypatch,
        load=[{"if": {"repack": True}, "how": "SIGILL"}, {"if": {"mmap": True}, "how": "SIGABRT"}],
    )
    path = tmp_path / "fallback.json"
    async with supervised(real, safe_mode=SafeModeStore(path)) as client:
        await client.ready()
        assert replace(real, repack=False, mmap=False) == client.config
        assert ["repack off instead of on", "mmap off instead of on"] == [
            change.partition(":")[0] for change in client.config_changes
        ]
        assert "SIGILL" in client.config_changes[0]
        greedy = SamplingParams(temperature=0.0, max_tokens=5, ignore_eos=True)
        assert await text(client, "Hello", greedy)
    faulty(monkeypatch, load=[{"if": {"repack": True}, "how": "hang"}, {"if": {"mmap": True}, "how": "hang"}])
    async with supervised(real, safe_mode=SafeModeStore(path)) as client:
        await client.ready()
        (change,) = client.config_changes
        assert "mmap off instead of on, repack off instead of on: SIGILL" in change
        assert (0, None) == (client.health.restarts, client.health.last_exit)


async def test_overrides_that_do_not_help_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has failed with the configuration that was wanted."""
    faulty(monkeypatch, load=[{"if": {}, "how": "SIGSEGV"}])
    async with supervised(FAKE, safe_mode=SafeModeStore(tmp_path / "f")) as client:
        with pytest.raises(ModelLoadFailed, match="SIGSEGV") as error:
            await client.ready()
        assert "edgeinfer doctor" in str(error.value.hint)
        assert ("failed", FAKE, []) == (client.health.state, client.config, client.config_changes)
    assert {} == read_overrides(tmp_path / "f")


async def test_too_little_memory_at_the_start_leads_to_a_smaller_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It becomes as small as it must."""
    faulty(
        monkeypatch,
        load=[{"if": {"parallel": 8}, "how": "memory"}, {"if": {"parallel": 4}, "how": "SIGKILL"}],
    )
    kills = iter(range(100))  # the kernel's count rises all the time
    monkeypatch.setattr("edgeinfer.backends.llama_cpp.handle.oom_kills", lambda: next(kills))
    async with supervised(FAKE) as client:
        await client.ready()
        assert (2, 2) == (client.config.parallel, len(client.config_changes))
        assert "ran out of memory" in client.config_changes[1]


async def test_answer_survives_that_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was killed for it: the next one has a smaller configuration, and resumes the answer."""
    kills = 0
    monkeypatch.setattr("edgeinfer.backends.llama_cpp.handle.oom_kills", lambda: kills)
    async with supervised(SLOW) as client:
        params = SamplingParams(seed=1, max_tokens=30, ignore_eos=True)
        answer = ""
        async for delta in generate(client, "hello", params):
            answer += delta.text
            if len(answer) == 5:
                kills += 1
                kill(client)
        assert plain("hello", ctx=2048, seed=1, max_tokens=30, ignore_eos=True) == answer
        assert 4 == client.config.parallel
        (change,) = client.config_changes
        assert "parallel 4 instead of 8" in change


async def test_worker_killed_from_outside_keeps_its_configuration() -> None:
    """The kernel did not say that it was out of memory."""
    async with supervised(SLOW) as client:
        await client.ready()
        kill(client)
        await eventually(lambda: client.health.restarts and client.info)
        assert (SLOW, []) == (client.config, client.config_changes)


async def test_worker_that_crashes_on_its_gpu_is_planned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU may have gone while the machine slept."""
    faulty(monkeypatch, poison={"token": 7, "position": 0, "how": "gone"})
    reasons: list[str] = []

    def replan(reason: str) -> LlamaConfig:
        reasons.append(reason)
        return replace(FAKE, parallel=3)

    async with supervised(FAKE, replan=replan) as client:
        await client.ready()
        poison = asyncio.create_task(text(client, "\x07"))
        await eventually(lambda: client.config.parallel == 3)
        with pytest.raises(EdgeinferError):
            await poison
        assert "CUDA error" in reasons[0]
        assert "parallel 3 instead of 8" in client.config_changes[0]


async def test_missing_gpu_leads_to_the_cpu(model_file: Path) -> None:
    """llama.cpp would say nothing; the log and the status do. The plan is asked before."""
    real = LlamaConfig(
        str(model_file), "real", ctx=256, parallel=1, cells=512, batch=64, threads=1, gpu_layers=5
    )
    launcher = WorkerLauncher(real, replan=lambda reason: replace(real, gpu_layers=0, ubatch=32))
    worker = await launcher.launch(first=False)
    await worker.stop()
    assert (0, 32) == (launcher.config.gpu_layers, launcher.config.ubatch)
    assert "finds no GPU" in launcher.changes[0]
    async with supervised(real) as client:
        await client.ready()
        assert "gpu_layers 0 instead of 5" in client.config_changes[0]


async def test_answers_are_given_up_when_no_worker_starts_any_more(
    tmp_path: Path, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model's file is gone. New requests wait, and get an error that says when to try again."""
    path, away = tmp_path / "m.gguf", tmp_path / "away"
    shutil.copy(model_file, path)
    real = LlamaConfig(str(path), "real", ctx=256, parallel=2, cells=768, batch=64, threads=1)
    async with supervised(real) as client:
        monkeypatch.setattr(client._supervisor, "DELAYS", (0.0, 0.1))
        await client.ready()
        greedy = SamplingParams(temperature=0.0, ignore_eos=True)
        deltas = generate(client, "Hello", greedy)
        await anext(deltas)
        assert client.health.healthy
        os.rename(path, away)  # noqa: PTH104
        kill(client)
        with pytest.raises(ModelLoadFailed):
            async for _ in deltas:
                pass
        assert "restarting" == client.health.state
        await eventually(lambda: not client.health.healthy)
        os.rename(away, path)  # noqa: PTH104
        await eventually(lambda: client.health.healthy)
        assert await text(client, "Hello", SamplingParams(max_tokens=3, ignore_eos=True))


def test_this_machine_counts_kills_for_memory() -> None:
    """Linux does; other systems need not."""
    assert oom_kills() is not None or not os.path.exists("/proc/vmstat")  # noqa: PTH110
