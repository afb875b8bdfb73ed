"""The model that the settings name: whether it is there, and whether its memory is."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import EdgeinferError
from edgeinfer.hardware import Memory
from edgeinfer.hardware.memory import parse_meminfo
from edgeinfer.hardware.root_files import read_text
from edgeinfer.plan import Plan
from edgeinfer.store.progress import size_text

MODEL, MEMORY = "model", "memory"

SMALL = 5 * 10**9
"""Bytes of RAM up to which a machine without swap is one where things get killed."""

LITTLE = 100 * 10**6
"""Bytes that any machine should have left."""

SWAPPED = 256 * 10**6
"""Bytes in swap that may matter."""


class Swap(msgspec.Struct, frozen=True):
    """Bytes; None: not known."""

    total: int | None
    free: int | None


def swap(root: Path) -> Swap:
    found = parse_meminfo(read_text(root / "proc/meminfo") or "")
    return Swap(found.get("SwapTotal"), found.get("SwapFree"))


def model(plan: Plan | EdgeinferError) -> list[Finding]:
    """`plan`: or why there is none."""
    if isinstance(plan, EdgeinferError):
        return [from_error(MODEL, plan, "edgeinfer plan")]
    speed = f", about {plan.speed.decode:.0f} tok/s ({plan.speed.source})" if plan.speed.decode else ""
    return [Finding(MODEL, "ok", plan.config.name + speed)]


def memory(
    plan: Plan | EdgeinferError, ram: Memory, swap: Swap, oom_kills: int | None, *, running: bool
) -> list[Finding]:
    """`running`: the daemon has its model in memory already, so what is available is beside it."""
    found = []
    if running:
        if ram.available is not None and ram.available < LITTLE:
            text = f"beside the running daemon {size_text(ram.available)} are available"
            found.append(Finding(MEMORY, "warning", text, SMALLER))
    elif isinstance(plan, Plan) and plan.fits is False:
        found.append(_short(plan, ram))
    found += _swap(ram, swap)
    if oom_kills:
        text = f"the kernel has killed {oom_kills} process{'es' * (oom_kills > 1)} for want of memory since it started"
        found.append(Finding(MEMORY, "note", text, "journalctl -k --grep 'Out of memory' tells which"))
    return found or [Finding(MEMORY, "ok", _there_is(ram, plan))]


SMALLER = "stop other programs, lower ctx or parallel, or take a smaller model: edgeinfer plan"


def _short(plan: Plan, ram: Memory) -> Finding:
    room = plan.budget
    name, most = plan.config.name, ram.limit or ram.total
    if room.gpu is not None and plan.memory.gpu > room.gpu:
        text = f"{name} needs {size_text(plan.memory.gpu)} of the GPU's memory; it may take {size_text(room.gpu)}"
        return Finding(MEMORY, "warning", text, "lower gpu_layers, or leave it out: edgeinfer plan")
    needed = size_text(plan.memory.needed)
    if most is not None and plan.memory.needed > most:
        return Finding(MEMORY, "error", f"{name} needs {needed}, and there are {size_text(most)}", SMALLER)
    text = f"{name} needs {needed} beside the {size_text(room.headroom)} for the system; "
    return Finding(MEMORY, "warning", f"{text}{size_text(room.available or 0)} are available now", SMALLER)


def _swap(ram: Memory, swap: Swap) -> list[Finding]:
    if swap.total == 0 and ram.total is not None and ram.total < SMALL:
        text = "there is no swap: when memory is short, a process gets killed"
        fix = "compressed swap in memory helps; on Debian: sudo apt install zram-tools"
        return [Finding(MEMORY, "note", text, fix)]
    if swap.total and swap.free is not None:
        used = swap.total - swap.free
        if used > max(SWAPPED, swap.total // 2):
            text = f"{size_text(used)} are swapped out; if those are the model's, answers come slowly"
            return [Finding(MEMORY, "note", text, SMALLER)]
    return []


def _there_is(ram: Memory, plan: Plan | EdgeinferError) -> str:
    if ram.available is None:
        return "it is not known how much is available"
    limit = f", limited to {size_text(ram.limit)}" if ram.limit is not None else ""
    needed = f"; the model takes {size_text(plan.memory.needed)}" if isinstance(plan, Plan) else ""
    return f"{size_text(ram.available)} available{limit}{needed}"
