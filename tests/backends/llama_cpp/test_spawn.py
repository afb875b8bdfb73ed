"""A worker can be started before it is known what it loads, and waits for that."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edgeinfer.backends.llama_cpp import spawn
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.cli import main
from edgeinfer.cli.completion_scripts import VARIABLE
from edgeinfer.inference.sampling import SamplingParams
from tests.support.llama_client import supervised, text


@pytest.fixture(autouse=True)
def nothing_ahead() -> None:
    spawn.discard()


def ahead() -> subprocess.Popen[bytes]:
    spawn.start_ahead()
    return spawn._ahead[-1].process


async def test_the_first_worker_is_the_one_that_was_started_ahead() -> None:
    """The next one is another."""
    process = ahead()
    async with supervised() as client:
        await client.ready()
        assert process.pid == client.health.pid
        assert 3 == len(await text(client))
        process.kill()
        assert 3 == len(await text(client))
        assert process.pid != client.health.pid


async def test_worker_that_was_started_ahead_computes_with_llama_cpp(model_file: Path) -> None:
    config = LlamaConfig(str(model_file), "nano", ctx=256, parallel=1, cells=512, batch=64, threads=1)
    process = ahead()
    async with supervised(config) as client:
        await client.ready()
        assert process.pid == client.health.pid
        assert await text(client, "Hello", SamplingParams(temperature=0.0, max_tokens=4, ignore_eos=True))


def test_worker_ends_if_none_is_needed() -> None:
    process = ahead()
    spawn.discard()
    assert 0 == process.wait(60)


async def test_worker_that_has_died_meanwhile_is_replaced() -> None:
    process = ahead()
    process.kill()
    process.wait(60)
    async with supervised() as client:
        assert 3 == len(await text(client))


def test_daemon_that_cannot_start_leaves_no_worker(tmp_path: Path) -> None:
    """Wrong settings are found after the worker was started."""
    command = [sys.executable, "-m", "edgeinfer", "serve", "--model", str(tmp_path / "gone.gguf")]
    before = {p.pid for p in psutil.process_iter()}

    def left() -> list[psutil.Process]:
        found = [p for p in psutil.process_iter(["cmdline"]) if p.pid not in before]
        return [
            p for p in found if spawn.MODULE in (p.info["cmdline"] or ()) and "ahead" in p.info["cmdline"]
        ]

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        wait_until(lambda: bool(left()))
        assert daemon.wait(120) == 3, daemon.communicate()[1]
    wait_until(lambda: not left())


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_wrong_options_leave_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edgeinfer", "serve", "--wrong"])
    assert 2 == main()
    assert spawn.pid_ahead() is None


@pytest.mark.parametrize("arguments", [["serve", "--help"], ["serve", "-h"], ["plan", "serve"]])
def test_what_serves_nothing_starts_no_worker(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edgeinfer", *arguments])
    main()
    assert spawn.pid_ahead() is None


def test_completion_of_a_command_line_starts_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edgeinfer", "serve", "--mod"])
    monkeypatch.setenv(VARIABLE, "words")
    assert 0 == main()
    assert spawn.pid_ahead() is None
