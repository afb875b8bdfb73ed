"""`edgeinfer doctor` as a whole: each check is heard, whatever becomes of it; text and JSON."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.cli import doctor
from edgeinfer.doctor.checks import CHECKS
from edgeinfer.doctor.context import DoctorContext
from edgeinfer.doctor.finding import Finding
from edgeinfer.doctor.runner import Check, run_checks
from edgeinfer.errors import StoreError
from edgeinfer.store.store import Store
from tests.support.cli import environment, run
from tests.support.models import install
from tests.support.paths import ROOT

DOCS = ROOT / "docs/doctor.md"

LEVELS = {"ok", "note", "warning", "error"}

WITHOUT = """
import sys
for name in ("httpx", "psutil", "packaging"):
    sys.modules[name] = None
from edgeinfer.cli import main
sys.argv = ["edgeinfer", "doctor", "--json"]
sys.exit(main())
"""


def context(home: Path, **more: str) -> DoctorContext:
    return DoctorContext(environment(home, **more), home)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def examined(tmp_path: Path, *options: str, **env: str) -> tuple[int, dict[str, list[Any]]]:
    """Exit code, and the findings by check."""
    done = run(tmp_path, "doctor", "--json", *options, **env)
    findings: dict[str, list[Any]] = {}
    for finding in json.loads(done.stdout):
        findings.setdefault(finding["check"], []).append(finding)
    return done.returncode, findings


def test_all_is_well_here(tmp_path: Path) -> None:
    """An installation that the tests run in has no error: it loads, fits, and its bundled model answers."""
    code, findings = examined(tmp_path, EDGEINFER_PORT=free_port())
    assert {finding["level"] for check in findings.values() for finding in check} <= LEVELS
    for name in (
        "installation",
        "llama.cpp",
        "configuration",
        "model",
        "store",
        "access",
        "port",
        "fallbacks",
    ):
        assert [finding["level"] for finding in findings[name]] == ["ok"], findings[name]
    assert "the bundled model answers" in findings["self-test"][0]["text"]
    errors = [finding for check in findings.values() for finding in check if finding["level"] == "error"]
    # What is wrong with the very machine is for its owner to see.
    assert [
        finding for finding in errors if finding["check"] not in ("service", "power", "temperature")
    ] == []
    assert (code == 1) == bool(errors)


def test_every_problem_is_told_with_its_fix(tmp_path: Path) -> None:
    """A changed model, a taken port, keys for all to read: one run tells of all, and ends with 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        stored = install(Store(tmp_path / "store"), "tiny")
        data = bytearray(stored.path.read_bytes())
        data[-1] ^= 1
        stored.path.write_bytes(data)
        keys = tmp_path / "keys"
        keys.write_text("secret\n")
        keys.chmod(0o644)
        answering = threading.Thread(target=_answer_nonsense, args=(taken,), daemon=True)
        answering.start()
        code, findings = examined(tmp_path, EDGEINFER_PORT=port, EDGEINFER_API_KEY_FILE=str(keys))
    assert code == 1
    assert findings["store"][0]["level"] == "error"
    assert "sha256 differs" in findings["store"][0]["text"]
    assert findings["store"][0]["fix"].startswith("edgeinfer models rm tiny:Q4_K_M")
    assert findings["port"][0]["level"] == "error"
    assert f"127.0.0.1:{port} is used by" in findings["port"][0]["text"]
    assert [(f["level"], f["fix"]) for f in findings["permissions"]] == [("warning", f"chmod 600 {keys}")]
    assert all(f["fix"] for check in findings.values() for f in check if f["level"] != "ok")


def _answer_nonsense(listening: socket.socket) -> None:
    """As a server that knows nothing of HTTP."""
    try:
        while True:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"220 mail ready\r\n")
    except OSError:
        return


def test_fast_does_not_read_the_models(tmp_path: Path) -> None:
    """So it does not see a change that left size and date alone."""
    stored = install(Store(tmp_path / "store"), "tiny")
    data = bytearray(stored.path.read_bytes())
    data[-1] ^= 1
    stored.path.write_bytes(data)
    _, findings = examined(tmp_path, "--fast", EDGEINFER_PORT=free_port())
    assert [(f["level"], f["text"].split(",")[0]) for f in findings["store"]] == [("ok", "1 model")]


def test_people_get_a_line_for_each_check(tmp_path: Path) -> None:
    """In 80 columns; reading models is told on stderr."""
    install(Store(tmp_path / "store"), "tiny")
    done = run(tmp_path, "doctor", EDGEINFER_PORT=free_port())
    lines = done.stdout.splitlines()
    starts = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert starts[:2] == ["installation", "llama.cpp"]
    assert starts[-1] == "self-test"
    assert len(set(starts)) == len(starts)
    assert max(map(len, lines)) <= 80
    assert "tiny:Q4_K_M" in done.stderr
    assert "tiny:Q4_K_M" not in done.stdout


def test_broken_settings_are_one_error(tmp_path: Path) -> None:
    """What depends on them is not examined with others, and not blamed again."""
    config = tmp_path / "config.toml"
    config.write_text("pralel = 4\n")
    code, findings = examined(tmp_path, EDGEINFER_CONFIG=str(config))
    assert code == 1
    [finding] = findings["configuration"]
    assert finding["text"] == f"unknown setting 'pralel' in file {config}"
    assert finding["fix"] == "did you mean 'parallel'?"
    assert not {"model", "access", "port", "daemon"} & set(findings)
    assert [name for name, all_ in findings.items() for f in all_ if f["level"] == "error"] == [
        "configuration"
    ]


def test_missing_packages_are_findings(tmp_path: Path) -> None:
    """And never a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    bad = {f["check"]: f["text"] for f in json.loads(done.stdout) if f["level"] == "error"}
    assert "packaging" in bad["installation"]
    assert "httpx" in bad["daemon"]


def test_a_check_that_crashes_is_a_finding(tmp_path: Path) -> None:
    """The next one goes on; our own errors speak for themselves."""

    def crash(_: DoctorContext) -> list[Finding]:
        raise ZeroDivisionError("by zero")

    def refuse(_: DoctorContext) -> list[Finding]:
        raise StoreError("no store", hint="make one")

    checks = [Check("a", crash), Check("b", refuse), Check("c", lambda _: [Finding("c", "ok", "fine")])]
    assert [finding for [finding] in run_checks(checks, context(tmp_path))] == [
        Finding(
            "a",
            "error",
            "the check itself failed: ZeroDivisionError: by zero",
            "report this as a bug in edgeinfer doctor",
        ),
        Finding("b", "error", "no store", "make one"),
        Finding("c", "ok", "fine"),
    ]


def test_a_check_that_hangs_is_left(tmp_path: Path) -> None:
    """The examination goes on without it."""
    let_go = threading.Event()

    def hang(_: DoctorContext) -> list[Finding]:
        let_go.wait(60)
        return []

    checks = [Check("a", hang, timeout=0.05), Check("b", lambda _: [Finding("b", "ok", "fine")])]
    began = time.monotonic()
    first, second = run_checks(checks, context(tmp_path))
    let_go.set()
    assert time.monotonic() - began < 30
    assert (first[0].level, first[0].text) == (
        "warning",
        "the check did not finish within 0.05 s and was skipped",
    )
    assert second == [Finding("b", "ok", "fine")]


def test_names_that_are_no_text_are_spelt_out(tmp_path: Path) -> None:
    """A file may be called anything."""
    folder = tmp_path / "store/records"
    folder.mkdir(parents=True)
    Path(os.fsdecode(os.fsencode(folder / "x") + b"\xff@Q4.json")).write_text("{}")
    [[finding]] = run_checks([check for check in CHECKS if check.name == "store"], context(tmp_path))
    assert "x\\udcff@Q4.json cannot be read" in finding.text


def test_nothing_is_said_against_something_without_a_fix() -> None:
    """The struct sees to it."""
    with pytest.raises(ValueError, match="has no fix"):
        Finding("a", "note", "it is so")


def test_lines_are_broken_at_spaces_alone() -> None:
    """So that paths and options can be copied."""
    path = "/home/pi/.local/share/edgeinfer/models/some-owner/some-repository-with-a-name"
    findings = [
        Finding("store", "error", f"a {path}", f"chmod a-w {path}"),
        Finding("store", "note", "another", "edgeinfer models prune"),
    ]
    assert list(doctor.finding_lines(findings)) == [
        "store          error    a",
        f"                        {path}",
        "               fix: chmod a-w",
        f"                    {path}",
        "               note     another",
        "               fix: edgeinfer models prune",
    ]


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        (["ok"], "no problems"),
        (["ok", "note", "error", "error"], "2 errors, 1 note"),
        (["warning"], "1 warning"),
    ],
)
def test_the_verdict_counts(levels: list[Any], text: str) -> None:
    """In one line."""
    assert text == doctor.summary([Finding("a", level, "text", "fix") for level in levels])


def test_every_check_is_in_the_docs() -> None:
    """Under its name, in the order in which they are made."""
    headings = [line[3:] for line in DOCS.read_text().splitlines() if line.startswith("## ")]
    assert [check.name for check in CHECKS] == headings
