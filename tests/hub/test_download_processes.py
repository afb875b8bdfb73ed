"""Fetching in processes of their own, which are killed, limited, or find the disk full."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgeinfer.hub.download import download
from edgeinfer.store.progress import size_text
from edgeinfer.store.store import Store
from tests.support.cli import EDGEINFER, environment
from tests.support.faulty_hub import (
    REPO,
    FaultyHub,
    stall,
    wait_for,
)
from tests.support.hub import FILE, at, is_sound, nothing_bad, offered


def pull(home: Path, hub: FaultyHub, *before: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [*before, *EDGEINFER, "pull", f"{REPO}:Q8_0"],
        env=environment(home, HF_ENDPOINT=hub.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_killed_download_goes_on_where_it_was(hub: FaultyHub, tmp_path: Path, content: bytes) -> None:
    """kill -9 leaves no lock behind, and what had come."""
    never = threading.Event()
    hub.faults = [stall(0.5, never)]
    with pull(tmp_path, hub) as first:
        wait_for(lambda: any(p.stat().st_size == len(content) // 2 for p in tmp_path.rglob("*.part")))
        first.kill()
    never.set()
    assert first.returncode == -signal.SIGKILL
    with pull(tmp_path, hub) as second:
        out, err = second.communicate()
    assert second.returncode == 0, err
    assert Path(out.strip()).read_bytes() == content
    assert hub.file_requests[1].headers["range"] == f"bytes={len(content) // 2}-"
    assert hub.file_requests[1].sent == len(content) - len(content) // 2
    assert f"continuing after {size_text(len(content) // 2)}" in err


IN_SMALL_DISK = f"""
import os, subprocess, sys
from pathlib import Path
disk, size, fill = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "fill"
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", str(disk)], check=True)
command = [sys.executable, "-m", "edgeinfer", "pull", "{REPO}:Q8_0"]
with subprocess.Popen(command) as process:
    if fill:
        while not any(p.stat().st_size > 2_000_000 for p in disk.rglob("*.part")):
            pass
        with open(disk / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                print("full", flush=True)
print(process.wait(), *disk.rglob("*.gguf"), flush=True)
if fill:
    (disk / "filler").unlink()
    os.execv(sys.executable, command)
"""


def small_disks() -> bool:
    """Whether we may mount one that nobody else sees."""
    if shutil.which("unshare") is None:
        return False
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def on_small_disk(home: Path, hub: FaultyHub, size: str, what: str) -> subprocess.Popen[str]:
    """The command with its store on a disk of that size; `what`: "fill" fills it up meanwhile."""
    (disk := home / "store").mkdir()
    return subprocess.Popen(
        ["unshare", "-m", sys.executable, "-c", IN_SMALL_DISK, str(disk), size, what],
        env=environment(home, HF_ENDPOINT=hub.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(not small_disks(), reason="needs the right to mount")
def test_a_disk_that_is_too_small_is_found_out_before(hub: FaultyHub, tmp_path: Path) -> None:
    """With the numbers, and without a byte of the file."""
    with on_small_disk(tmp_path, hub, "66m", "nothing") as process:
        out, err = process.communicate()
    assert out == "1\n"
    assert f"error: {size_text(len(hub.files[FILE]))} are needed in " in err
    assert "its disk has 69.2 MB free, of which 67.1 MB are reserved for the system" in err
    assert "edgeinfer models rm" in err
    assert hub.file_requests == []


@pytest.mark.slow
@pytest.mark.skipif(not small_disks(), reason="needs the right to mount")
def test_a_disk_that_fills_up_meanwhile_is_an_error(hub: FaultyHub, tmp_path: Path, content: bytes) -> None:
    """What came is kept, and once there is room again it goes on."""
    go_on = threading.Event()
    hub.faults = [stall(0.5, go_on)]
    with on_small_disk(tmp_path, hub, "72m", "fill") as process:
        assert process.stdout
        assert process.stdout.readline() == "full\n"
        go_on.set()
        out, err = process.communicate()
    assert out.startswith("1\n")
    assert out.endswith(f"/{FILE}\n")
    assert process.returncode == 0
    needed = re.search(r"([\d.]+) MB are needed in .*, but its disk has \d+ bytes free", err)
    assert needed
    assert abs(float(needed[1]) - len(content) / 2e6) < 0.1
    assert "received so far are kept: run the same command again to continue" in err
    assert int(hub.file_requests[1].headers["range"][6:-1]) >= len(content) // 2


def test_a_limit_on_the_size_of_files_is_an_error(hub: FaultyHub, tmp_path: Path, content: bytes) -> None:
    """As a quota on the disk is."""
    with pull(tmp_path, hub, "bash", "-c", 'ulimit -f 2000; exec "$@"', "bash") as process:
        _, err = process.communicate()
    assert process.returncode == 1
    needed = re.search(r"^error: File too large: ([\d.]+) MB more are needed for ", err, re.MULTILINE)
    assert needed
    assert abs(float(needed[1]) - (len(content) - 2000 * 1024) / 1e6) < 0.1
    assert "received so far are kept" in err
    store = Store(tmp_path / "store")
    assert nothing_bad(store)
    stored = download(offered(hub), store, hub=at(hub))
    assert is_sound(stored, store, content)
    assert hub.file_requests[1].headers["range"] == f"bytes={2000 * 1024}-"
