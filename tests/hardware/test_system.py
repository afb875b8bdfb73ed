"""Detection of the system, and reading of files and commands."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from edgeinfer.hardware import detect
from edgeinfer.hardware.root_files import COMMAND_TIMEOUT, entries, label, number, output, read_text
from edgeinfer.hardware.system import container
from tests.support.hardware import write


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({"proc/1/environ": "PATH=/bin\0container=lxc\0TERM=linux\0"}, "lxc"),
        ({"proc/1/environ": "PATH=/bin\0TERM=linux\0"}, None),
        ({".dockerenv": "", "var/run/secrets/kubernetes.io/serviceaccount/token": "x"}, "kubernetes"),
    ],
)
def test_containers_are_known(files: dict[str, str], expected: str | None, tmp_path: Path) -> None:
    """Each kind leaves its marks."""
    assert expected == container(write(tmp_path, files))


def test_this_machine_has_a_system() -> None:
    """It agrees with Python's platform module."""
    system = detect().system
    assert (sys.platform, platform.machine(), os.sysconf("SC_PAGESIZE"), platform.libc_ver()[1] or None) == (
        system.os,
        system.machine,
        system.page_size,
        system.glibc,
    )


def command(directory: Path, text: str) -> None:
    path = directory / "probe"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_commands_are_run_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run with English messages and empty input; their exit status does not matter."""
    command(tmp_path, 'cat; echo "$LC_ALL" "$1"; echo no >&2; exit 3')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "C x\n" == output(Path("/"), "probe", "probe", "x")


def test_a_command_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nvidia-smi hangs if a card has fallen off the bus."""
    command(tmp_path, "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("edgeinfer.hardware.root_files.COMMAND_TIMEOUT", 0.2)
    assert output(Path("/"), "probe", "probe") is None
    assert COMMAND_TIMEOUT > 1


def test_a_command_that_is_missing_says_nothing() -> None:
    """There is no error."""
    assert output(Path("/"), "probe", "edgeinfer-no-such-command") is None


def test_a_record_runs_no_commands(tmp_path: Path) -> None:
    """A recorded tree contains their outputs."""
    write(tmp_path, {"commands/uname.txt": "riscv64\n"})
    assert ("riscv64", None) == (output(tmp_path, "uname", "uname", "-m"), output(tmp_path, "df", "df"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("42", 42),
        ("-1", None),
        ("", None),
        (None, None),
        ("4.2", None),
        ("²", None),
        ("9" * 30, None),
    ],
)
def test_numbers_are_digits(text: str | None, expected: int | None) -> None:
    """Implausibly large numbers are rejected."""
    assert expected == number(text)


def test_labels_are_short_and_printable() -> None:
    """They are shown to users."""
    assert "a b" == label(" a\x00\x1b\n b\u202e ")
    assert label("\n\0") is None
    assert 120 == len(label("x" * 500) or "")


def test_a_file_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the list of a folder's entries."""
    monkeypatch.setattr("edgeinfer.hardware.root_files.MAX_BYTES", 5)
    monkeypatch.setattr("edgeinfer.hardware.root_files.MAX_ENTRIES", 2)
    write(tmp_path, {"a": "1234567", "b": "", "c": ""})
    assert ("12345", 2) == (read_text(tmp_path / "a"), len(entries(tmp_path)))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"commands/uname.txt": "armv7l\n"}, (True, False)),
        ({"commands/uname.txt": "i686\n"}, (True, False)),
        ({"commands/uname.txt": "aarch64\n", "lib/ld-linux-armhf.so.3": ""}, (True, False)),
        ({"commands/uname.txt": "aarch64\n", "etc/os-release": "ID=raspbian\n"}, (True, False)),
        (
            {
                "commands/uname.txt": "aarch64\n",
                "lib/ld-linux-aarch64.so.1": "",
                "lib/ld-linux-armhf.so.3": "",
            },
            (False, False),
        ),
        ({"commands/uname.txt": "x86_64\n", "lib64/ld-linux-x86-64.so.2": ""}, (False, False)),
        ({"commands/uname.txt": "x86_64\n", "lib/ld-musl-x86_64.so.1": ""}, (False, True)),
        (
            {"commands/uname.txt": "aarch64\n", "etc/os-release": 'ID=postmarketos\nID_LIKE="alpine"\n'},
            (False, True),
        ),
        ({"commands/uname.txt": "x86_64\n", "etc/os-release": "ID=debian\n"}, (False, False)),
        ({"etc/os-release": 'PRETTY_NAME="Alpine Linux v3.22"\n'}, (False, True)),
        ({"etc/os-release": 'PRETTY_NAME="Raspbian GNU/Linux 12 (bookworm)"\n'}, (True, False)),
        ({"commands/uname.txt": "riscv64\n", "lib/ld-linux-riscv64-lp64d.so.1": ""}, (False, False)),
    ],
)
def test_the_kind_of_programs_is_told(
    files: dict[str, str], expected: tuple[bool, bool], tmp_path: Path
) -> None:
    """Whether they are 32-bit and whether musl is their C library; 64-bit systems may have both loaders."""
    system = detect(write(tmp_path, {"proc/meminfo": "MemTotal: 4 kB\n"} | files)).system
    assert expected == (system.is_32_bit, system.is_musl)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"lib/aarch64-linux-gnu/libc-2.27.so": ""}, "2.27"),
        ({"lib/libc-2.31.so": "", "lib/libcrypt-2.31.so": ""}, "2.31"),
        ({"lib/aarch64-linux-gnu/libc.so.6": ""}, None),
        ({}, None),
    ],
    ids=["Ubuntu 18.04", "others", "since 2.34", "nothing"],
)
def test_an_old_glibc_has_its_version_in_its_name(
    files: dict[str, str], expected: str | None, tmp_path: Path
) -> None:
    """Of a newer one a record says nothing."""
    assert expected == detect(write(tmp_path, {"proc/meminfo": "MemTotal: 4 kB\n"} | files)).system.glibc
