"""Lets fewer threads compute while other processes need the cores.

Threads wait for one another after each operation of a model. So one that shares its core with another process slows
all of them: two threads beside one busy process are slower than one thread alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from edgeinfer.backends.llama_cpp.config import LlamaConfig

PERIOD = 0.5
"""Seconds from one look to the next; the system counts in steps of up to 10 ms."""

TAKEN = 0.6
"""Share of a core that others use when a thread leaves it to them."""

FREE = 0.35
"""Share of a core that others may use when a thread takes it again: less than `TAKEN`, so that threads do not come and go."""

COUNTED = (0, 2, 5, 6)
"""Fields of a line of /proc/stat that take a core from a thread: user, system, irq and softirq. See proc_stat(5).

Not stolen time: it is lost on each core, however many threads there are.
"""

NICE = 1
"""Field of processes with a positive nice value: they give way, unless this is one itself."""


class CpuTimes(NamedTuple):
    """Processor time until now on the CPUs that this process may use.

    Attributes:
        cpus: number of these CPUs.
        all: seconds that all processes have used on them.
        own: seconds that this process has used.
    """

    cpus: int
    all: float
    own: float


def read_cpu_times(path: str = "/proc/stat") -> CpuTimes | None:
    """Read what has been used; None where the system does not tell, such as on macOS."""
    ticks = 0
    try:
        # Not os.nice(0), which also sets it: that is forbidden in the service's sandbox.
        counted = (*COUNTED, NICE) if os.getpriority(os.PRIO_PROCESS, 0) > 0 else COUNTED
        allowed = os.sched_getaffinity(0)
        names = {b"cpu%d" % cpu for cpu in allowed}
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  this one is read between two tokens
            for line in file.read(1 << 20).splitlines():
                name, *fields = line.split()
                if name in names:
                    ticks += sum(int(fields[i]) for i in counted)
                elif not name.startswith(b"cpu"):
                    break
    except (AttributeError, OSError, ValueError, IndexError):
        return None
    return CpuTimes(len(allowed), ticks / os.sysconf("SC_CLK_TCK"), time.process_time())


class ComputeThreads:
    """Number of threads for the next decode, `count`: as many as the plan says, or fewer beside busy processes.

    It stays the same if answers must not differ: on some processors the last digits of a sum depend on it.
    """

    def __init__(
        self,
        config: LlamaConfig,
        cpu_times: Callable[[], CpuTimes | None] = read_cpu_times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = self.count = config.threads
        self._cpu_times = cpu_times
        self._clock = clock
        self._looked = clock()
        adapts = config.threads > 1 and config.determinism != "alone"
        self._times = cpu_times() if adapts else None

    def look(self) -> int:
        """Look at what others have used, if it is time to; -> threads for the next decode."""
        now = self._clock()
        if self._times and now - self._looked >= PERIOD:
            before, seconds = self._times, now - self._looked
            self._looked, self._times = now, self._cpu_times()
            if self._times:
                others = (self._times.all - before.all) - (self._times.own - before.own)
                self._choose(self._times.cpus - others / seconds)
        return self.count

    def _choose(self, free: float) -> None:
        """`free`: cores that others leave."""
        least, most = (max(1, min(self.most, int(free + share))) for share in (FREE, TAKEN))
        self.count = min(max(self.count, least), most)
