"""`edgeinfer status`: the report for a person and for a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgeinfer.cli.status_report import amount, duration, lines
from edgeinfer.client.status import StatusReply
from tests.support.cli import daemon, run
from tests.support.status import STATUS

SHOWN = """\
edgeinfer 0.1.0 · ready · pid 7 · up 1 h 2 min
model     nano (llama F16, 3.1 M parameters, 6.2 MB)
          /m/nano.gguf
          recommended: temperature 0.6, top_k 40; no system prompt is best
          conversations are adapted to its chat template: no tools, no empty turns
now       2 running, 1 waiting, 40 of 100 KV cells used, 30 cached, last step 12.3 ms
so far    14 prompt tokens (4 from the cache), 20 generated
worker    pid 8, 1 restart, last exit: signal 9
          llama.cpp 0.3.36, variant armv8.2_1, neon dotprod
          confined by Landlock 7, seccomp
          ! 1 of 2 threads compute, as other programs need the cores
plan      ctx 50, flash_attention off, step_ms 200, threads 2
          - ctx: as told
settings  ctx = 50 (flag)
"""


def test_the_report_is_a_topic_a_line(tmp_path: Path) -> None:
    """What a person wants to know first comes first."""
    with daemon() as server:
        server.status = STATUS
        done = run(tmp_path, "status", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout, done.stderr) == (0, SHOWN, "")


MODELS: list[dict[str, Any]] = [
    {"name": "nano", "state": "ready", "default": True, "memory": 20_000_000, "restarts": 1, "active": 2},
    {"name": "qwen3-0.6b", "state": "ready", "memory": 900_000_000, "active": 0, "last_used": 65.2},
    {"name": "embed", "state": "unloaded", "memory": None, "last_used": None, "new_field": 1},
    {"name": "broken", "state": "failed", "error": "no such file: /m/broken.gguf"},
]

MODEL_LINES = """\
models    nano        ready     default, 20 MB, 2 requests in progress, 1 restart
          qwen3-0.6b  ready     900 MB, last used 1 min 5 s ago
          embed       unloaded
          broken      failed    no such file: /m/broken.gguf
"""


def test_several_models_have_a_line_each(tmp_path: Path) -> None:
    """A daemon with one model shows none of this."""
    with daemon() as server:
        server.status = {**STATUS, "models": MODELS}
        several = run(tmp_path, "status", EDGEINFER_PORT=server.port)
        server.status = {**STATUS, "models": MODELS[:1]}
        one = run(tmp_path, "status", EDGEINFER_PORT=server.port)
    assert (several.returncode, one.stdout) == (0, SHOWN)
    assert several.stdout == SHOWN.replace("now  ", f"{MODEL_LINES}now  ")


def test_a_default_model_that_is_unloaded_is_no_fault(tmp_path: Path) -> None:
    """The next request loads it."""
    with daemon() as server:
        server.status = {**STATUS, "state": "unloaded", "model": None, "stats": {}}
        assert run(tmp_path, "status", EDGEINFER_PORT=server.port).returncode == 0


def test_an_engine_without_cells_says_nothing_of_them() -> None:
    """An encoder keeps none, and "0 of 0" looks like a fault."""
    status = StatusReply(version="0", pid=1, uptime=0, state="ready", stats={"running": 0, "cells": 0})
    assert "now       0 running, 0 waiting" in list(lines(status))


def test_prompts_that_are_kept_in_ram_are_shown_where_there_are_any() -> None:
    stats = {**STATUS["stats"], "ram_cache_bytes": 12_300_000, "ram_cache_tokens_total": 3}
    shown = "\n".join(lines(msgspec.convert({**STATUS, "stats": stats}, StatusReply)))
    assert "30 cached, 12.3 MB of prompts in RAM, last step" in shown
    assert "14 prompt tokens (4 from the cache, 3 of these by way of RAM), 20 generated" in shown


def test_json_has_everything_the_daemon_says(tmp_path: Path) -> None:
    """Also what this version knows nothing of."""
    with daemon() as server:
        server.status = STATUS
        done = run(tmp_path, "status", "--json", EDGEINFER_PORT=server.port)
    assert json.loads(done.stdout) == STATUS


def test_a_daemon_without_a_model_is_shown_and_ends_with_1(tmp_path: Path) -> None:
    """`edgeinfer status && ...` means: it answers."""
    with daemon() as server:
        server.status = {**STATUS, "state": "failed", "model": None, "reason": "out of memory", "stats": {}}
        done = run(tmp_path, "status", EDGEINFER_PORT=server.port)
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "edgeinfer 0.1.0 · failed · pid 7 · up 1 h 2 min",
        "model     none: out of memory",
    ]


def test_no_daemon_is_said_with_how_to_start_one(tmp_path: Path) -> None:
    """Exit code 1."""
    done = run(tmp_path, "status")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: no daemon answers at http://127.0.0.1:1\nhint: start one in another terminal: edgeinfer serve\n"
    )


def test_some_other_server_is_no_daemon(tmp_path: Path) -> None:
    """Nor is its answer a reason for a traceback."""
    with daemon() as server:
        server.status = {"hello": "world"}
        done = run(tmp_path, "status", EDGEINFER_PORT=server.port)
    assert done.returncode == 1
    assert "hint: is this the address of an edgeinfer daemon?" in done.stderr


def test_a_report_needs_no_more_than_its_head() -> None:
    """An older daemon knows less."""
    status = StatusReply(version="0", pid=1, uptime=0, state="starting")
    assert list(lines(status)) == ["edgeinfer 0 · starting · pid 1 · up 0 s", "model     none"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h"), (86400 * 400 + 5, "400 d 5 s")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    """Nobody counts the seconds of a year."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, None), (0, None), (7, "7 B"), (1500, "1.5 kB"), (10**6, "1 MB"), (1117320800, "1.12 GB")],
)
def test_an_amount_has_three_digits(count: int | None, text: str | None) -> None:
    """None stays unknown."""
    assert amount(count, "B") == text
