"""The daemon says what computes its models, and why nothing does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from edgeinfer.hardware.llama_build import read_build
from edgeinfer.server.run import STARTUP_FAILURE
from tests.support.cli import run
from tests.support.daemon import edgeinfer
from tests.support.foreign_build import FOREIGN_SET, foreign_build


def test_the_log_the_status_and_the_metrics_name_the_build(tmp_path: Path) -> None:
    """As the worker has found it, not as the daemon believes."""
    expected = read_build()
    assert expected
    sets = " ".join(expected.isa)
    with edgeinfer(tmp_path, "--model", "edgeinfer-nano", "--port", "0", "--ctx", "256") as process:
        process.wait_for("READY=1\nSTATUS=serving edgeinfer-nano")
        url = process.url()
        engine = httpx.get(f"{url}/status").json()["engine"]
        metrics = httpx.get(f"{url}/metrics").text
        facts = {fact["name"]: fact["text"] for fact in httpx.get(f"{url}/machine").json()["facts"]}
        shown = run(tmp_path, "status", EDGEINFER_PORT=str(httpx.URL(url).port)).stdout
        process.end()
    words = (
        f"llama.cpp {expected.version}{f', variant {expected.variant}' if expected.variant else ''}, {sets}"
    )
    assert any(f"edgeinfer-nano is computed by {words}" in line for line in process.lines)
    assert words in " ".join(shown.split())
    assert words == f"llama.cpp {facts['llama.cpp']}"
    assert (expected.version, list(expected.isa), expected.variant, expected.kernels) == (
        engine["version"],
        engine["isa"],
        engine["variant"],
        engine["kernels"],
    )
    (sample,) = [line for line in metrics.splitlines() if line.startswith("edgeinfer_engine_info{")]
    assert sample.endswith("} 1.0")
    for label in ('model="edgeinfer-nano"', f'version="{expected.version}"', f'isa="{sets}"'):
        assert label in sample


def test_a_build_for_another_cpu_ends_the_daemon_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its exit status keeps a service manager from starting it again, and one worker has tried."""
    foreign_build(tmp_path / "lib", monkeypatch)
    with edgeinfer(tmp_path, "--model", "edgeinfer-nano", "--port", "0") as process:
        assert STARTUP_FAILURE == process.process.wait(60)
    said = "".join(process.lines)
    assert (
        f"the model cannot be loaded: llama.cpp was built for a CPU with {FOREIGN_SET}, and this one" in said
    )
    assert "hint: build it for this machine with scripts/setup" in said
    assert said.count("Fatal Python error: Illegal instruction") == 1
