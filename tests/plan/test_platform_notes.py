"""What is told of systems that cannot run everything, or nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.doctor.installation import check_platform
from edgeinfer.hardware import System, detect
from edgeinfer.plan import platform_notes as page
from edgeinfer.plan.machine_notes import machine_notes
from edgeinfer.plan.platform_notes import Platform, glibc_version, platform_notes, this_platform
from tests.support.hardware import write

OLD = (2, 28)


@pytest.mark.parametrize(
    ("this", "fatal", "words"),
    [
        (Platform("aarch64", glibc=(2, 31), python=(3, 9)), [], ""),
        (Platform("x86_64", glibc=(2, 41), python=(3, 14)), [], ""),
        (Platform("arm64", python=(3, 12)), [], ""),
        (Platform(None), [], ""),
        (Platform("armv7l", is_32_bit=True), [True], "32-bit"),
        (Platform("aarch64", is_32_bit=True, glibc=(2, 28)), [True], "32-bit"),
        (Platform("aarch64", glibc=OLD), [True], "no wheel for glibc 2.28, only from 2.31 on"),
        (Platform("aarch64", glibc=OLD, has_rust=True), [False], "no wheel for glibc 2.28"),
        (Platform("aarch64", glibc=OLD, has_llguidance=True), [], ""),
        (Platform("x86_64", is_musl=True), [True, False], "no wheel for musl"),
        (Platform("x86_64", is_musl=True, has_rust=True), [False, False], "no wheel for musl"),
        (
            Platform("x86_64", is_musl=True, has_llguidance=True),
            [False],
            "musl, with which edgeinfer is not tested",
        ),
        (
            Platform("riscv64", glibc=(2, 41)),
            [False, False],
            "JSON schemas, tool calls and grammars are refused",
        ),
        (Platform("riscv64", glibc=(2, 41), has_llguidance=True), [False], "not tested on riscv64"),
        (
            Platform("ppc64le", glibc=(2, 36)),
            [False, False],
            "JSON schemas, tool calls and grammars are refused",
        ),
        (Platform("x86_64", glibc=(2, 41), python=(3, 15)), [False], "not tested with Python 3.15"),
    ],
)
def test_each_restriction_is_told_with_a_way_around_it(this: Platform, fatal: list[bool], words: str) -> None:
    """It is fatal if an installation would fail."""
    notes = platform_notes(this)
    assert fatal == [note.fatal for note in notes]
    assert not notes or any(words in note.text for note in notes)
    assert all(note.fix for note in notes)


@pytest.mark.parametrize(
    ("glibc", "words"),
    [((2, 41), "there is a wheel"), ((2, 36), "compiled by Rust"), (None, "compiled by Rust")],
    ids=["Debian 13", "older", "unknown"],
)
def test_risc_v_can_have_schemas_too(glibc: tuple[int, int] | None, words: str) -> None:
    """There is a wheel for newer systems; for others it takes a compiler."""
    note = platform_notes(Platform("riscv64", glibc=glibc))[0]
    assert "pip install llguidance" in note.fix
    assert words in note.fix


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2.36", (2, 36)), ("2.31.1", (2, 31)), ("", None), (None, None), ("2", None), ("two.3", None)],
)
def test_versions_of_glibc_are_read(text: str | None, expected: tuple[int, int] | None) -> None:
    """What is no version is unknown."""
    assert expected == glibc_version(text)


def test_a_system_that_has_everything_has_no_notes() -> None:
    """Such as this one, of which the file tells when it is run by itself."""
    assert [] == platform_notes(this_platform())
    done = subprocess.run([sys.executable, "-I", page.__file__], capture_output=True, text=True, check=False)
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("facts", "status", "said"),
    [({"is_musl": True}, 1, "error: llguidance"), ({"python": [3, 15]}, 0, "note: edgeinfer is not tested")],
)
def test_a_setup_is_told_before_it_begins(
    facts: dict[str, Any], status: int, said: str, tmp_path: Path
) -> None:
    """The file needs nothing that is installed."""
    code = (
        "import json, runpy, sys\n"
        "names = runpy.run_path(sys.argv[1], run_name='page')\n"
        "facts = {'machine': 'x86_64', **json.loads(sys.argv[2])}\n"
        "facts['python'] = tuple(facts.get('python', (3, 12)))\n"
        "names['main'].__globals__['this_platform'] = lambda: names['Platform'](**facts)\n"
        "sys.exit(names['main']())\n"
    )
    command = [sys.executable, "-I", "-S", "-c", code, page.__file__, json.dumps(facts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert status == done.returncode, done.stderr
    assert done.stderr.startswith(said)
    assert "\nhint: " in done.stderr


@pytest.mark.parametrize(
    ("system", "text"),
    [
        (System(machine="armv7l", is_32_bit=True), "32-bit"),
        (System(machine="riscv64"), "JSON schemas, tool calls"),
        (System(machine="x86_64", is_musl=True), "musl"),
        (System(machine="aarch64", glibc="2.27"), "glibc 2.27"),
        (System(machine="aarch64", glibc="2.36"), None),
    ],
    ids=lambda value: value.machine if isinstance(value, System) else "",
)
def test_doctor_has_the_same_words(system: System, text: str | None) -> None:
    """As warnings: what runs cannot be that wrong."""
    findings = check_platform(system, has_llguidance=False)
    assert {"warning"} >= {finding.level for finding in findings}
    assert (text is None) is (findings == [])
    assert text is None or text in findings[0].text


def test_a_plan_for_a_record_tells_what_is_missing_there(tmp_path: Path) -> None:
    """Not what is installed where the plan is made."""
    files = {"proc/meminfo": "MemTotal: 4000000 kB\n", "commands/uname.txt": "riscv64\n"}
    assert any("llguidance" in note for note in machine_notes(detect(write(tmp_path, files))))
