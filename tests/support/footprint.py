"""Which modules a process has loaded, and how much memory its own program takes.

A process that finds `HOOK` as its module sitecustomize tells that by itself when it is signalled. Memory of an
emulator is left out: a program that runs in one is shown only what it has mapped itself, at the addresses that the
kernel knows too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

HOOK = """
import json, os, pathlib, signal, sys

def tell(*ignored):
    facts = {"modules": sorted(sys.modules), "maps": pathlib.Path("/proc/self/maps").read_text()}
    file = pathlib.Path.home() / f"footprint-{os.getpid()}"
    file.with_suffix(".part").write_text(json.dumps(facts))
    file.with_suffix(".part").rename(file)

signal.signal(signal.SIGUSR2, tell)
"""

ASK = (
    'kill -USR2 {pid}; until [ -e "$HOME/footprint-{pid}" ]; do sleep 0.2; done; cat "$HOME/footprint-{pid}"'
)

MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ")
RESIDENT = re.compile(r"Rss: +(\d+) kB")


class Footprint(NamedTuple):
    """Loaded modules but those of Python, and resident memory in MiB."""

    modules: frozenset[str]
    resident: float


def footprint(pid: int, run: Callable[..., str]) -> Footprint:
    """Ask a process with the hook; `run` runs a command on its machine."""
    facts = json.loads(run("sh", "-c", ASK.format(pid=pid)))
    modules = {name for name in facts["modules"] if name.partition(".")[0] not in sys.stdlib_module_names}
    own = [span for span, _ in _mappings(facts["maps"])]
    used = sum(
        kilobytes
        for (start, end), kilobytes in _mappings(run("cat", f"/proc/{pid}/smaps"))
        if any(start < own_end and own_start < end for own_start, own_end in own)
    )
    return Footprint(frozenset(modules), used / 1024)


def _mappings(text: str) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield each mapping of /proc/PID/maps or smaps, with what smaps says of it that is in memory, in KiB."""
    span, used = None, 0
    for line in text.splitlines():
        if match := MAPPING.match(line):
            if span:
                yield span, used
            span, used = (int(match[1], 16), int(match[2], 16)), 0
        elif match := RESIDENT.match(line):
            used = int(match[1])
    if span:
        yield span, used
