"""Reads the limits of this process's control group, version 2 or 1."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.hardware.root_files import number, parse_list, read_int, read_text

MAX_PATH = 4096
"""Linux's own limit."""


def cpus(root: Path) -> frozenset[int] | None:
    """Return the CPUs of the group's cpuset; None if it has none of its own."""
    own = next(iter(values(root, "cpuset.cpus.effective")), None)
    own = own or read_text(root / "sys/fs/cgroup/cpuset/cpuset.effective_cpus")
    return frozenset(parse_list(own)) or None


def quota(root: Path) -> float | None:
    """Return the CPU time limit in CPUs; None if there is no limit."""
    limits = [_cpus(*text.partition(" ")[::2]) for text in values(root, "cpu.max")]
    v1 = root / "sys/fs/cgroup/cpu"
    limits.append(_cpus(read_text(v1 / "cpu.cfs_quota_us") or "", read_text(v1 / "cpu.cfs_period_us") or ""))
    return min((limit for limit in limits if limit), default=None)


def _cpus(time: str, period: str) -> float | None:
    """Return time per period; None for "max", -1, and anything that is not a number."""
    us, of = number(time), number(period)
    return us / of if us and of else None


def memory(root: Path) -> int | None:
    """Return the limit in bytes of RAM; None if there is none."""
    limits = [number(text) for text in values(root, "memory.max")]
    limits.append(read_int(root / "sys/fs/cgroup/memory/memory.limit_in_bytes"))
    return min((limit for limit in limits if limit is not None), default=None)


def swap(root: Path) -> int | None:
    """Return the limit in bytes of swap; None if there is none."""
    limits = [number(text) for text in values(root, "memory.swap.max")]
    return min((limit for limit in limits if limit is not None), default=None)


def memory_used(root: Path) -> int | None:
    """Return the bytes that the group uses and cannot give back: inactive page cache counts as free."""
    v2 = next((used for text in values(root, "memory.current") if (used := number(text)) is not None), None)
    if v2 is None:
        return read_int(root / "sys/fs/cgroup/memory/memory.usage_in_bytes")
    stat = next(iter(values(root, "memory.stat")), "")
    cache = next((number(line[14:]) for line in stat.splitlines() if line.startswith("inactive_file ")), 0)
    return max(0, v2 - (cache or 0))


def values(root: Path, name: str) -> list[str]:
    """Return a version 2 file's texts, from this process's own group up to the root."""
    own = read_text(root / "proc/self/cgroup") or ""
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "/")
    group = Path(path.lstrip("/") if len(path) <= MAX_PATH else "")
    levels = [group, *group.parents] if ".." not in group.parts else [Path()]
    texts = (read_text(root / "sys/fs/cgroup" / level / name) for level in levels)
    return [text for text in texts if text]
