"""What GET /status says, in a few lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

WIDTH = 10
"""Of the left column."""


class Plan(msgspec.Struct, frozen=True):
    config: dict[str, Any] = {}
    reasons: list[str] = []


class Setting(msgspec.Struct, frozen=True):
    value: Any
    source: str


class Report(msgspec.Struct, frozen=True):
    """The part of /status that is shown. A daemon of another version may know less of it, or more."""

    version: str
    pid: int
    uptime: float
    state: str
    restarts: int = 0
    last_exit: str | None = None
    reason: str | None = None
    worker_pid: int | None = None
    model: dict[str, Any] | None = None
    stats: dict[str, Any] = {}
    plan: Plan = Plan()
    settings: dict[str, Setting] = {}
    resumed: int = 0
    fallback: list[str] = []
    reload: dict[str, Any] | None = None


def lines(report: Report) -> Iterator[str]:
    """The report, a topic a line; `|` goes on with the topic above."""
    yield f"edgeinfer {report.version} · {report.state} · pid {report.pid} · up {duration(report.uptime)}"
    for topic, found in (
        ("model", _model(report)),
        ("now", _now(report.stats)),
        ("so far", _so_far(report.stats)),
        ("worker", _worker(report)),
        ("plan", _plan(report.plan)),
        ("settings", _settings(report)),
    ):
        for number, line in enumerate(found):
            yield f"{topic if number == 0 else '':<{WIDTH}}{line}"


def _model(report: Report) -> Iterator[str]:
    if report.model is None:
        yield f"none{f': {report.reason}' if report.reason else ''}"
        return
    model = report.model
    facts = [
        model.get("description"),
        amount(model.get("n_params"), " parameters"),
        amount(model.get("size"), "B"),
    ]
    yield f"{model.get('name')} ({', '.join(fact for fact in facts if fact)})"
    yield str(model.get("path"))


def _now(stats: dict[str, Any]) -> Iterator[str]:
    if stats:
        cells = f"{stats.get('cells_used', 0)} of {stats.get('cells', 0)} KV cells used"
        if kept := stats.get("cells_cached"):
            cells += f", {kept} kept for prompts to come"
        step = f", last step {stats['step_ms']:.1f} ms" if stats.get("step_ms") else ""
        yield f"{stats.get('running', 0)} answering, {stats.get('waiting', 0)} waiting, {cells}{step}"


def _so_far(stats: dict[str, Any]) -> Iterator[str]:
    if stats.get("steps_total"):
        cached = stats.get("cached_tokens_total", 0)
        yield (
            f"{stats.get('prompt_tokens_total', 0)} tokens read ({cached} of them from the cache), "
            f"{stats.get('completion_tokens_total', 0)} written"
        )


def _worker(report: Report) -> Iterator[str]:
    parts = [f"pid {report.worker_pid}"] if report.worker_pid else []
    if report.restarts:
        parts.append(f"{report.restarts} restart{'' if report.restarts == 1 else 's'}")
    if report.resumed:
        parts.append(f"{report.resumed} answer{'' if report.resumed == 1 else 's'} gone on with")
    if report.last_exit:
        parts.append(f"the last one ended: {report.last_exit}")
    if parts:
        yield ", ".join(parts)
    yield from (f"! loaded otherwise than planned: {change}" for change in report.fallback)
    if report.reload and report.reload.get("state") == "failed":
        yield f"! the last reload failed, and changed nothing: {report.reload.get('message')}"


def _plan(plan: Plan) -> Iterator[str]:
    config = {k: v for k, v in plan.config.items() if k not in ("model", "name")}
    words = [f"{name} {shown(value)}" for name, value in config.items()]
    for start in range(0, len(words), 6):
        yield ", ".join(words[start : start + 6])
    yield from (f"- {reason}" for reason in plan.reasons)


def _settings(report: Report) -> Iterator[str]:
    for name, setting in report.settings.items():
        if setting.source != "default":
            yield f"{name} = {shown(setting.value)} ({setting.source})"


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """`3 d 4 h`, `5 min 2 s`: the two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def amount(count: int | None, suffix: str) -> str | None:
    """`1.78 G` and what it is an amount of; None where it is unknown."""
    if not count:
        return None
    letter, unit = next(
        ((p, u) for p, u in (("G", 10**9), ("M", 10**6), ("k", 10**3)) if count >= u), ("", 1)
    )
    return f"{count / unit:.3g} {letter}{suffix}"
