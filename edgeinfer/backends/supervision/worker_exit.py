"""How a worker process ended, and what that says about its configuration and its machine."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

import msgspec

OUT_OF_MEMORY = re.compile(
    r"bad_alloc|MemoryError|[Oo]ut of memory|[Cc]annot allocate memory|failed to allocate", re.A
)
"""Found in the messages of llama.cpp, the C++ library and Python where memory is short."""

GPU = re.compile(r"\b(CUDA|cuda|cu[A-Z]\w+|[Vv]ulkan|vk::|Metal|SYCL|HIP|ROCm)\b")

DIRECTORIES = re.compile(r"(?<![\w.:/])/(?:[^\s/:'\"]+/)+")

CRASHES = frozenset({signal.SIGILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""Signals that native code brings upon itself."""

FAULTS = {
    "Aborted": signal.SIGABRT,
    "Bus error": signal.SIGBUS,
    "Floating point exception": signal.SIGFPE,
    "Floating-point exception": signal.SIGFPE,
    "Illegal instruction": signal.SIGILL,
    "Segmentation fault": signal.SIGSEGV,
}
"""What Python's faulthandler calls each signal in its first line: "Fatal Python error: Aborted"."""


class WorkerExit(msgspec.Struct, frozen=True):
    """The end of a worker process.

    Attributes:
        status: exit status; negative is the signal that killed the process.
        cause: the line of its stderr that says most.
        kill_reason: why we killed it, if we did.
        oom_killed: the kernel killed it because memory was short.
    """

    status: int
    cause: str = ""
    kill_reason: str | None = None
    oom_killed: bool = False

    @property
    def crashed(self) -> bool:
        return -self.status in CRASHES

    @property
    def out_of_memory(self) -> bool:
        return self.oom_killed or bool(OUT_OF_MEMORY.search(self.cause))

    @property
    def lost_gpu(self) -> bool:
        """The GPU failed. It may have gone, as some do when a machine wakes up."""
        return bool(GPU.search(self.cause))

    def __str__(self) -> str:
        how = f"exit status {self.status}"
        if self.status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-self.status).name
        why = (
            self.kill_reason
            or without_directories(self.cause)
            or ("the system ran out of memory" if self.oom_killed else "")
        )
        return f"{how}: {why}" if why else how


def first_fault(status: int, cause: str) -> int:
    """Return the status of the signal that `cause` names, else `status`.

    Python's faulthandler reads the stacks of threads that still run, so that a process can die of a second signal while
    it reports the first.
    """
    fault = FAULTS.get(cause.removeprefix("Fatal Python error: "))
    return -fault if fault and -status in CRASHES else status


def without_directories(text: str, model: str = "") -> str:
    """Leave the names of files only, that of `model` too: where they are is none of a client's business."""
    return DIRECTORIES.sub("", text.replace(model, Path(model).name) if model else text)


def oom_kills(root: str = "/") -> int | None:
    """Number of processes that were killed because memory was short; None where it is not counted.

    It is our control group's number if there is one, else the system's. macOS, and Linux before 4.13, have neither.
    """
    for file in (*_group_events(root), Path(root, "proc/vmstat")):
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text().split("\n"):
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return None


def _group_events(root: str) -> list[Path]:
    with contextlib.suppress(OSError):
        for line in Path(root, "proc/self/cgroup").read_text().split("\n"):
            if line.startswith("0::/") and ".." not in line:
                return [Path(root, "sys/fs/cgroup", line[4:], "memory.events")]
    return []
