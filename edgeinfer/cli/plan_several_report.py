"""Output of `edgeinfer plan` for several models."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgeinfer.cli.plan_report import choice_document, machine_lines
from edgeinfer.errors import DoesNotFit
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan import ModelChoice, Plan
from edgeinfer.plan.reasons import MB

Choices = Mapping[str, ModelChoice | DoesNotFit]
"""The choice for each model, by its name on the command line."""

MODEL_WIDTH = 38


def several_lines(profile: HardwareProfile, choices: Choices, width: int) -> Iterator[str]:
    """Return the table as lines for a person, at most `width` columns wide."""
    yield from machine_lines(profile, width)
    yield ""
    yield f"{'model':<{MODEL_WIDTH}}{'memory':>10}{'left':>10}{'answers':>9}{'tok/s':>7}"
    for name, choice in choices.items():
        yield name if isinstance(choice, DoesNotFit) else _row(choice)
        if isinstance(choice, DoesNotFit):
            for text in (choice.message, f"hint: {choice.hint}"):
                yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield "Each model gets what those above it leave; one that does not fit gets nothing."


def _row(choice: ModelChoice) -> str:
    plan = choice.plan
    memory = f"{_used(plan) / MB:,.0f} MB"
    left = memory_left(plan)
    size = "?" if left is None else f"{left / MB:,.0f} MB"
    speed = f"{plan.speed.decode:.1f}" if plan.speed.decode else "?"
    return f"{choice.option.label:<{MODEL_WIDTH}}{memory:>10}{size:>10}{plan.config.parallel:>9}{speed:>7}"


def _used(plan: Plan) -> int:
    return plan.memory.model + plan.memory.daemon


def memory_left(plan: Plan) -> int | None:
    """Return the bytes left for other models, negative with --force; None if unknown."""
    memory, budget = plan.memory, plan.budget
    left = [] if budget.ram is None else [budget.ram - memory.needed - memory.ram_cache]
    left += [] if budget.limit is None else [budget.limit - memory.model - memory.ram_cache]
    return min(left, default=None)


def several_document(profile: HardwareProfile, choices: Choices) -> dict[str, Any]:
    """Return the plans as data for a program."""
    return {"machine": msgspec.to_builtins(profile), "models": [_entry(*item) for item in choices.items()]}


def _entry(name: str, choice: ModelChoice | DoesNotFit) -> dict[str, Any]:
    if isinstance(choice, DoesNotFit):
        return {"name": name, "fits": False, "error": msgspec.to_builtins(choice.data())}
    return {"name": name, **choice_document(choice), "left": memory_left(choice.plan)}
