"""`edgeinfer status --watch`, on a terminal and in a pipe."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import EDGEINFER, ScriptedDaemon, daemon, environment, run, serving, terminal
from tests.support.status import STATUS


@contextmanager
def watching(home: Path, *options: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*EDGEINFER, "status", "--watch", "0.1", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, **env),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    return process.returncode, error


@pytest.fixture
def server() -> Iterator[ScriptedDaemon]:
    with daemon() as server:
        server.status = STATUS
        yield server


def test_a_pipe_gets_a_line_for_each_look(server: ScriptedDaemon, tmp_path: Path) -> None:
    """Ctrl-C ends it with success, and without a word."""
    with watching(tmp_path, EDGEINFER_PORT=server.port) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(2)]
        assert stop(process) == (0, "")
    pattern = (
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S+  ready · nano · 2 running, 1 waiting · 40 of 100 KV cells used · "
    )
    assert re.fullmatch(pattern + "20 tokens generated\n", lines[0])
    assert re.fullmatch(pattern + "20 tokens generated · 0.0 tok/s\n", lines[1])


def test_json_is_a_line_for_each_look(server: ScriptedDaemon, tmp_path: Path) -> None:
    with watching(tmp_path, "--json", EDGEINFER_PORT=server.port) as process:
        assert process.stdout
        looks: list[dict[str, Any]] = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert stop(process) == (0, "")
    assert looks[0].pop("time") < looks[1].pop("time")
    assert looks == [STATUS, STATUS]


@pytest.mark.slow
def test_it_outlives_the_daemon(tmp_path: Path) -> None:
    """One that is gone, and one that comes back at the same address."""
    with (
        serving(tmp_path, "--port", "0") as (first, url),
        watching(tmp_path, "--json", "--url", url) as process,
    ):
        assert process.stdout
        assert json.loads(process.stdout.readline())["pid"] == first.pid
        first.terminate()
        first.wait(30)
        look = _next(process, lambda look: "error" in look)
        assert look["error"]["code"] == "model_not_ready"
        with serving(tmp_path, "--port", url.rpartition(":")[2]) as (second, _):
            assert _next(process, lambda look: "error" not in look)["pid"] == second.pid
        assert stop(process)[0] == 0


def _next(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    assert process.stdout
    return next(look for line in process.stdout if wanted(look := json.loads(line)))


def test_one_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with watching(tmp_path) as process:
        assert process.stdout
        assert process.stdout.readline().endswith("  no daemon answers at http://127.0.0.1:1\n")
        assert stop(process) == (0, "")


def test_what_is_no_daemon_is_an_error(tmp_path: Path) -> None:
    with daemon() as server:
        server.status = {"other": 1}
        done = run(tmp_path, "status", "--watch", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is this the address of an edgeinfer daemon?" in done.stderr


def test_a_terminal_shows_the_report_in_place(server: ScriptedDaemon, tmp_path: Path) -> None:
    """On the second screen, in as many rows and columns as there are; then all is as it was before."""
    size: dict[str, Any] = {"COLUMNS": "40", "LINES": "8", "TERM": "xterm"}
    with terminal(tmp_path, "status", "--watch", "0.3", EDGEINFER_PORT=server.port, **size) as opened:
        opened.expect(re.escape("\x1b[?1049h"))
        opened.expect(re.escape("\x1b[H"))
        first = opened.expect(re.escape("\x1b[H"))
        lines = first.replace("\x1b[K", "").replace("\x1b[J", "").removesuffix("\x1b[H").split("\n")
        assert len(lines) == 8
        assert max(map(len, lines)) <= 40
        assert lines[2].startswith("edgeinfer 0.1.0 · ready")
        assert lines[-1].endswith("more lines")
        opened.send("\x03")
        assert opened.wait() == 0
        assert "\x1b[?25h\x1b[?1049l" in opened.seen


def test_a_terminal_that_cannot_draw_gets_lines(server: ScriptedDaemon, tmp_path: Path) -> None:
    with terminal(tmp_path, "status", "--watch", "0.1", EDGEINFER_PORT=server.port) as opened:
        assert "\x1b" not in opened.expect("tok/s\n")
        opened.send("\x03")
        assert opened.wait() == 0


@pytest.mark.parametrize("seconds", ["0", "soon"])
def test_a_time_that_is_none_is_wrong_usage(seconds: str, tmp_path: Path) -> None:
    done = run(tmp_path, "status", "--watch", seconds)
    assert done.returncode == 2
    assert "it must be a number from 0.1 to 86400" in done.stderr
