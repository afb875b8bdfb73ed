"""Output of `edgeinfer plan`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.describe import describe
from edgeinfer.plan import ModelChoice, ModelOption, Plan, RankedOption
from edgeinfer.plan.machine_notes import machine_notes
from edgeinfer.plan.reasons import MB
from edgeinfer.plan.speed import CALIBRATE, Speed

LABEL_WIDTH = 11
AMOUNT_LABEL_WIDTH = 30
OPTION_WIDTH = 37


def lines(
    profile: HardwareProfile, choice: ModelChoice, width: int, larger: Sequence[ModelChoice] = ()
) -> Iterator[str]:
    """Yield the plan as lines for a person, at most `width` columns wide; `larger` would run well here too."""
    yield from machine_lines(profile, width)
    yield ""
    option, plan = choice.option, choice.plan
    where = option.path or f"{option.size / 1e9:.2f} GB to download"
    about = ", ".join(part for part in (option.licence, where) if part)
    yield from _labelled("Model", option.label, width)
    yield from _labelled("", about, width)
    yield from _labelled("Speed", _speed(plan.speed), width)
    yield from _labelled("Fits", {True: "yes", False: "no", None: "unknown"}[plan.fits], width)
    yield ""
    for label, amount in memory(plan):
        yield f"{label:<{AMOUNT_LABEL_WIDTH}}{amount / MB:>8,.0f} MB"
    yield ""
    for reason in (*choice.reasons, *plan.reasons):
        yield from textwrap.wrap(reason, width, initial_indent="- ", subsequent_indent="  ")
    others = [other for other in choice.others if other.option.model == option.model or not other.fits]
    if others:
        yield ""
        yield f"{'alternatives':<{OPTION_WIDTH}}{'memory':>9}{'tok/s':>7}"
        yield from map(_other, others)
    if larger:
        yield ""
        yield f"{'larger models, at a good speed':<{OPTION_WIDTH}}{'memory':>9}{'tok/s':>7}"
        yield from (_option(each.option, each.plan) for each in larger)
        yield f"to use one: edgeinfer install --model {larger[0].option.model}"


def machine_lines(profile: HardwareProfile, width: int) -> Iterator[str]:
    for label, text in describe(profile):
        yield from _labelled(label, text, width)
    for note in machine_notes(profile):
        yield from _labelled("Note", note, width)


def _labelled(label: str, text: str, width: int) -> list[str]:
    indent = " " * LABEL_WIDTH
    return textwrap.wrap(text, width, initial_indent=f"{label:<{LABEL_WIDTH}}", subsequent_indent=indent) or [
        label
    ]


def _speed(speed: Speed) -> str:
    if speed.decode is None:
        return f"unknown for this machine; to measure it: {CALIBRATE}"
    source = speed.source or ""
    if source.startswith("estimated"):
        source += f"; {CALIBRATE} measures it"
    prompt = f", {speed.prefill:.0f} for a prompt" if speed.prefill else ""
    return f"about {speed.decode:.{0 if speed.decode >= 20 else 1}f} tokens per second{prompt} ({source})"


def memory(plan: Plan) -> list[tuple[str, int]]:
    """Return the parts of the memory needed, their sum, and what is available."""
    parts, budget = plan.memory, plan.budget
    ram = [
        ("weights", parts.weights),
        ("weights repacked for speed", parts.repacked),
        ("KV cache", parts.kv),
        ("buffers", parts.compute),
        ("draft model", parts.draft),
        ("processes and vocabulary", parts.processes),
        ("GPU, in shared memory", parts.gpu if parts.shared else 0),
    ]
    rows = [(label, amount) for label, amount in ram if amount]
    rows.append(("RAM needed", parts.needed))
    if budget.limit is not None:
        rows.append(("left by memory_limit_mb", budget.limit))
    if budget.available is not None:
        rows += [("available", budget.available), ("reserved for the system", budget.headroom)]
    if parts.stale:
        rows.append(("mapped, then released", parts.stale))
    if parts.embeddings:
        rows.append(("more for embeddings", parts.embeddings))
    if parts.ram_cache:
        rows.append(("more for prompts in RAM", parts.ram_cache))
    if parts.gpu and not parts.shared:
        rows += [("GPU: weights", parts.gpu_weights), ("GPU: KV cache", parts.gpu_kv)]
        rows.append(("GPU: buffers and driver", parts.gpu_compute))
        if parts.gpu_draft:
            rows.append(("GPU: draft model", parts.gpu_draft))
        rows.append(("GPU memory needed", parts.gpu))
    if parts.gpu and budget.gpu is not None:
        rows.append(("GPU memory usable", budget.gpu))
    return rows


def _other(other: RankedOption) -> str:
    return f"{_option(other.option, other.plan)}  {other.rejection}"


def _option(option: ModelOption, plan: Plan) -> str:
    memory, decode = plan.memory, plan.speed.decode
    needed = f"{(memory.needed + (0 if memory.shared else memory.gpu)) / MB:,.0f} MB"
    speed = f"{decode:.1f}" if decode else "?"
    return f"{option.label:<{OPTION_WIDTH}}{needed:>9}{speed:>7}"


def document(
    profile: HardwareProfile, choice: ModelChoice, larger: Sequence[ModelChoice] = ()
) -> dict[str, Any]:
    """Return the plan as data for a program."""
    more = [_facts(each.option.model, each.option.quant, each.plan) for each in larger]
    machine = {"machine": msgspec.to_builtins(profile), "notes": machine_notes(profile)}
    return {**machine, **choice_document(choice), "larger": more}


def refusal_document(profile: HardwareProfile, error: DoesNotFit) -> dict[str, Any]:
    """Return the reason why nothing fits as data for a program."""
    machine = {"machine": msgspec.to_builtins(profile), "notes": machine_notes(profile)}
    return {**machine, "fits": False, "error": msgspec.to_builtins(error.data())}


def choice_document(choice: ModelChoice) -> dict[str, Any]:
    return {
        "reasons": choice.reasons,
        **_facts(choice.option.model, choice.option.quant, choice.plan),
        "path": choice.option.path,
        "size": choice.option.size,
        "licence": choice.option.licence,
        "plan": {"config": msgspec.to_builtins(choice.plan.config), "reasons": choice.plan.reasons},
        "backend": choice.plan.backend,
        "others": [
            {**_facts(other.option.model, other.option.quant, other.plan), "against": other.rejection}
            for other in choice.others
        ],
    }


def _facts(model: str, quant: str, plan: Plan) -> dict[str, Any]:
    parts, budget = plan.memory, plan.budget
    totals = {
        "processes": parts.processes,
        "model": parts.model,
        "needed": parts.needed,
        "total": parts.total,
        "gpu": parts.gpu,
    }
    return {
        "model": model,
        "quant": quant,
        "fits": plan.fits,
        "speed": msgspec.to_builtins(plan.speed),
        "memory": {**msgspec.to_builtins(parts), **totals},
        "budget": msgspec.to_builtins(budget),
    }
