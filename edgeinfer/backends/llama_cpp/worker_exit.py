"""How a worker ended, and what that says about its settings and its machine."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

import msgspec

MEMORY = re.compile(
    r"bad_alloc|MemoryError|[Oo]ut of memory|[Cc]annot allocate memory|failed to allocate", re.A
)
"""In what llama.cpp, the C++ library or Python say where memory is short."""

GPU = re.compile(r"\b(CUDA|cuda|cu[A-Z]\w+|[Vv]ulkan|vk::|Metal|SYCL|HIP|ROCm)\b")

CRASHES = frozenset({signal.SIGILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE})
"""What native code does to itself."""


class Death(msgspec.Struct, frozen=True):
    """The end of a process.

    Attributes:
        status: of its exit; negative is the signal that killed it.
        last_words: the line of its stderr that says most.
        verdict: why we killed it, if we did.
        oom_killed: the kernel killed it because memory was short.
    """

    status: int
    last_words: str = ""
    verdict: str | None = None
    oom_killed: bool = False

    @property
    def crashed(self) -> bool:
        return -self.status in CRASHES

    @property
    def out_of_memory(self) -> bool:
        return self.oom_killed or bool(MEMORY.search(self.last_words))

    @property
    def lost_gpu(self) -> bool:
        """It died of its GPU, which may have gone, as some do when a machine wakes up."""
        return bool(GPU.search(self.last_words))

    def __str__(self) -> str:
        how = f"exit status {self.status}"
        if self.status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-self.status).name
        why = self.verdict or self.last_words or ("the system ran out of memory" if self.oom_killed else "")
        return f"{how}: {why}" if why else how


def oom_kills(root: str = "/") -> int | None:
    """Processes killed so far because memory was short: in our control group if it counts them, else in the
    system. None where nobody counts (macOS, and Linux before 4.13).
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
