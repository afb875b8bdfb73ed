"""Reads the limits of this process's control group, version 2 or 1, and of the groups above it."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.hardware.root_files import exists, number, pairs, parse_list, read_text

MOUNT = "sys/fs/cgroup"

MAX_PATH = 4096
"""Linux's own limit."""

RECLAIMABLE = ("inactive_file", "active_file")
"""Page cache in memory.stat. A file that was read twice is active, and given back all the same."""


def cpus(root: Path) -> frozenset[int] | None:
    """Return the CPUs of the group's cpuset; None if it has none of its own."""
    texts = [*values(root, "cpuset.cpus.effective"), *values(root, "cpuset.effective_cpus", "cpuset")]
    return frozenset(parse_list(next(iter(texts), None))) or None


def quota(root: Path) -> float | None:
    """Return the CPU time limit in CPUs; None if there is no limit."""
    limits = [_cpus(*text.partition(" ")[::2]) for text in values(root, "cpu.max")]
    limits += [
        _cpus(read_text(group / "cpu.cfs_quota_us") or "", read_text(group / "cpu.cfs_period_us") or "")
        for group in groups(root, "cpu")
    ]
    return min((limit for limit in limits if limit), default=None)


def _cpus(time: str, period: str) -> float | None:
    """Return time per period; None for "max", -1, and anything that is not a number."""
    us, of = number(time), number(period)
    return us / of if us and of else None


def memory(root: Path) -> int | None:
    """Return the limit in bytes of RAM; None if there is none."""
    return min((limit for limit, _ in _memory_limits(root)), default=None)


def memory_left(root: Path) -> int | None:
    """Return the bytes that may still be taken, where page cache counts as free; None if there is no limit."""
    return min((max(0, limit - used) for limit, used in _memory_limits(root)), default=None)


def _memory_limits(root: Path) -> list[tuple[int, int]]:
    """Return limit and use of each group that has a limit: the tightest is not always the fullest."""
    limits = [
        # Beyond memory.high, systemd's MemoryHigh, processes are slowed down until they give memory back.
        (number(read_text(group / name)), _used(group, "memory.current", ""))
        for group in groups(root)
        for name in ("memory.max", "memory.high")
    ]
    for group in groups(root, "memory"):
        used = _used(group, "memory.usage_in_bytes", "total_")
        limits.append((number(read_text(group / "memory.limit_in_bytes")), used))
        # A limit of a group above, which a container does not see.
        limits.append((number(_stat(group).get("hierarchical_memory_limit")), used))
    return [(limit, used) for limit, used in limits if limit is not None]


def _used(group: Path, name: str, prefix: str) -> int:
    """Return the bytes that a group uses and cannot give back.

    `prefix` names the sums with the groups below, which version 1 has beside its own.
    """
    stat = _stat(group)
    cache = sum(number(stat.get(prefix + kind, stat.get(kind))) or 0 for kind in RECLAIMABLE)
    return max(0, (number(read_text(group / name)) or 0) - cache)


def _stat(group: Path) -> dict[str, str]:
    return pairs(read_text(group / "memory.stat") or "", " ")


def swap(root: Path) -> int | None:
    """Return the limit in bytes of swap; None if there is none."""
    limits = [number(text) for text in values(root, "memory.swap.max")]
    for group in groups(root, "memory"):
        both = number(read_text(group / "memory.memsw.limit_in_bytes"))
        ram = number(read_text(group / "memory.limit_in_bytes"))
        limits.append(max(0, both - ram) if both is not None and ram is not None else None)
    return min((limit for limit in limits if limit is not None), default=None)


def values(root: Path, name: str, controller: str = "") -> list[str]:
    """Return a file's texts, from this process's own group up to the root; those of version 2 by default."""
    texts = (read_text(group / name) for group in groups(root, controller))
    return [text for text in texts if text]


def groups(root: Path, controller: str = "") -> list[Path]:
    """Return the directories of this process's group and those above it, of version 2 or of a controller of 1.

    In a container the path is that of the host, and only the root is there.
    """
    own, mounts = "/", [controller]
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            own, mounts = path, [names, controller]
            break
    group = Path(own.lstrip("/") if len(own) <= MAX_PATH else "")
    levels = [group, *group.parents] if ".." not in group.parts else [Path()]
    mount = next(
        (place for name in mounts if exists((place := root / MOUNT / name) / ".")), root / MOUNT / mounts[-1]
    )
    return [mount / level for level in levels]
