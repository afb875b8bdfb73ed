"""The models that the settings name, and the memory for them."""

from __future__ import annotations

from collections.abc import Mapping
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

MAX_RAM_NEEDING_SWAP = 5 * 10**9
"""Bytes of RAM up to which a machine should have swap."""

MIN_AVAILABLE = 100 * 10**6
"""Bytes that should stay available on any machine."""

MIN_SWAP_USED = 256 * 10**6
"""Bytes in swap that may matter."""


NO_MODELS: Mapping[str, Plan | EdgeinferError] = {}


class Swap(msgspec.Struct, frozen=True):
    """Total and free swap in bytes; None if unknown."""

    total: int | None
    free: int | None


def read_swap(root: Path) -> Swap:
    meminfo = parse_meminfo(read_text(root / "proc/meminfo") or "")
    return Swap(meminfo.get("SwapTotal"), meminfo.get("SwapFree"))


def check_models(
    plan: Plan | EdgeinferError, others: Mapping[str, Plan | EdgeinferError] = NO_MODELS
) -> list[Finding]:
    """Check that the default model and the `others` can be planned for; an error says why not."""
    findings = [_check_model(plan, "")]
    return findings + [_check_model(other, f"{name}: ") for name, other in others.items()]


def _check_model(plan: Plan | EdgeinferError, label: str) -> Finding:
    if isinstance(plan, EdgeinferError):
        finding = from_error(MODEL, plan, "edgeinfer plan")
        return msgspec.structs.replace(finding, text=label + finding.text)
    speed = f", about {plan.speed.decode:.0f} tok/s ({plan.speed.source})" if plan.speed.decode else ""
    if plan.draft_problem:
        text = f"{label}{plan.config.name} has no draft model: {plan.draft_problem}"
        return Finding(MODEL, "note", text, "change or remove draft_model")
    path = plan.llama.draft_model if plan.backend == "llama.cpp" else None
    draft = f", with {Path(path).name} as its draft model" if path else ""
    return Finding(MODEL, "ok", label + plan.config.name + speed + draft)


def check_memory(
    plan: Plan | EdgeinferError,
    ram: Memory,
    swap: Swap,
    oom_kills: int | None,
    *,
    running: bool,
    others: Mapping[str, Plan | EdgeinferError] = NO_MODELS,
) -> list[Finding]:
    """Check memory and swap; if the daemon is `running`, its models are already in memory."""
    findings = []
    if running:
        if ram.available is not None and ram.available < MIN_AVAILABLE:
            text = f"only {size_text(ram.available)} are available beside the running daemon"
            findings.append(Finding(MEMORY, "warning", text, LESS_MEMORY_FIX))
    else:
        plans = [one for one in (plan, *others.values()) if isinstance(one, Plan)]
        findings += [_too_large(one, ram) for one in plans if one.fits is False]
    findings += _check_swap(ram, swap)
    if oom_kills:
        text = (
            f"the kernel has killed {oom_kills} process{'es' * (oom_kills > 1)} for lack of memory since boot"
        )
        findings.append(Finding(MEMORY, "note", text, "to see which: journalctl -k --grep 'Out of memory'"))
    return findings or [Finding(MEMORY, "ok", _summary(ram, plan))]


LESS_MEMORY_FIX = "stop other programs, lower ctx or parallel, or use a smaller model: edgeinfer plan"


def _too_large(plan: Plan, ram: Memory) -> Finding:
    budget = plan.budget
    name, total = plan.config.name, ram.limit or ram.total
    if budget.gpu is not None and plan.memory.gpu > budget.gpu:
        text = f"{name} needs {size_text(plan.memory.gpu)} of GPU memory, of which {size_text(budget.gpu)} is usable"
        return Finding(MEMORY, "warning", text, "lower gpu_layers, or remove it: edgeinfer plan")
    needed = size_text(plan.memory.needed)
    if total is not None and plan.memory.needed > total:
        return Finding(
            MEMORY, "error", f"{name} needs {needed}, but the machine has {size_text(total)}", LESS_MEMORY_FIX
        )
    text = f"{name} needs {needed}, and the system {size_text(budget.headroom)}; "
    return Finding(
        MEMORY, "warning", f"{text}{size_text(budget.available or 0)} are available now", LESS_MEMORY_FIX
    )


def _check_swap(ram: Memory, swap: Swap) -> list[Finding]:
    if swap.total == 0 and ram.total is not None and ram.total < MAX_RAM_NEEDING_SWAP:
        text = "there is no swap: if memory runs out, the kernel kills a process"
        fix = "add compressed swap in memory; on Debian: sudo apt install zram-tools"
        return [Finding(MEMORY, "note", text, fix)]
    if swap.total and swap.free is not None:
        used = swap.total - swap.free
        if used > max(MIN_SWAP_USED, swap.total // 2):
            text = f"{size_text(used)} are swapped out; if they belong to the model, answers are slow"
            return [Finding(MEMORY, "note", text, LESS_MEMORY_FIX)]
    return []


def _summary(ram: Memory, plan: Plan | EdgeinferError) -> str:
    if ram.available is None:
        return "available memory is unknown"
    limit = f", limited to {size_text(ram.limit)}" if ram.limit is not None else ""
    needed = f"; the model needs {size_text(plan.memory.needed)}" if isinstance(plan, Plan) else ""
    return f"{size_text(ram.available)} available{limit}{needed}"
