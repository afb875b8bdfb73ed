"""Output of `edgeinfer status`: GET /status in a few lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeinfer.client.status import ModelReply, PlanReply, StatusReply

LABEL_WIDTH = 10


def lines(status: StatusReply) -> Iterator[str]:
    """Yield the report, one topic per line; a line without a topic continues the one above."""
    yield f"edgeinfer {status.version} · {status.state} · pid {status.pid} · up {duration(status.uptime)}"
    for topic, texts in (
        ("model", _model(status)),
        ("models", _models(status.models)),
        ("now", _now(status.stats)),
        ("so far", _so_far(status.stats)),
        ("worker", _worker(status)),
        ("plan", _plan(status.plan)),
        ("settings", _settings(status)),
    ):
        for number, text in enumerate(texts):
            yield f"{topic if number == 0 else '':<{LABEL_WIDTH}}{text}"


def _model(status: StatusReply) -> Iterator[str]:
    if status.model is None:
        yield f"none{f': {status.reason}' if status.reason else ''}"
        return
    model = status.model
    facts = [
        model.get("description"),
        amount(model.get("n_params"), " parameters"),
        amount(model.get("size"), "B"),
    ]
    yield f"{model.get('name')} ({', '.join(fact for fact in facts if fact)})"
    yield str(model.get("path"))
    if sampling := model.get("sampling"):
        values = ", ".join(f"{name} {value:g}" for name, value in sampling.items())
        advice = "" if model.get("system_prompt", True) else "; no system prompt is best"
        yield f"recommended: {values}{advice}"
    if limits := model.get("template_limits"):
        yield f"conversations are adapted to its chat template: {', '.join(limits)}"


def _models(models: list[ModelReply]) -> Iterator[str]:
    """Yield a line for each model, where there are several."""
    if len(models) < 2:
        return
    name_width = max(len(model.name) for model in models)
    state_width = max(len(model.state) for model in models)
    for model in models:
        facts = ", ".join(_model_facts(model))
        error = f"{': ' if facts else ''}{model.error}" if model.error else ""
        yield f"{model.name:<{name_width}}  {model.state:<{state_width}}  {facts}{error}".rstrip()


def _model_facts(model: ModelReply) -> Iterator[str]:
    if model.default:
        yield "default"
    if memory := amount(model.memory, "B"):
        yield memory
    if model.active:
        yield f"{count(model.active, 'request')} in progress"
    elif model.last_used is not None:
        yield f"last used {duration(model.last_used)} ago"
    if model.restarts:
        yield count(model.restarts, "restart")


def _now(stats: dict[str, Any]) -> Iterator[str]:
    if stats:
        cells = ""
        if size := stats.get("cells"):  # an encoder has none
            cells = f", {stats.get('cells_used', 0)} of {size} KV cells used"
        if cached := stats.get("cells_cached"):
            cells += f", {cached} cached"
        if saved := amount(stats.get("ram_cache_bytes"), "B"):
            cells += f", {saved} of prompts in RAM"
        step = f", last step {stats['step_ms']:.1f} ms" if stats.get("step_ms") else ""
        yield f"{stats.get('running', 0)} running, {stats.get('waiting', 0)} waiting{cells}{step}"


def _so_far(stats: dict[str, Any]) -> Iterator[str]:
    if stats.get("steps_total"):
        cached = stats.get("cached_tokens_total", 0)
        restored = stats.get("ram_cache_tokens_total", 0)
        of_these = f", {restored} of these by way of RAM" if restored else ""
        yield (
            f"{stats.get('prompt_tokens_total', 0) + cached} prompt tokens ({cached} from the cache{of_these}), "
            f"{stats.get('completion_tokens_total', 0)} generated"
        )


def _worker(status: StatusReply) -> Iterator[str]:
    facts = [f"pid {status.worker_pid}"] if status.worker_pid else []
    if status.restarts:
        facts.append(count(status.restarts, "restart"))
    if status.resumed:
        facts.append(f"{count(status.resumed, 'answer')} resumed")
    if status.last_exit:
        facts.append(f"last exit: {status.last_exit}")
    if facts:
        yield ", ".join(facts)
    if engine := status.engine:
        variant = [f"variant {engine.variant}"] if engine.variant else []
        sets = " ".join((*engine.apis, *engine.isa))
        yield ", ".join((f"{engine.name} {engine.version}", *variant, sets))
    if confinement := status.confinement.get("worker"):
        yield f"confined by {confinement}"
    planned = status.plan.config.get("threads", 0)
    if 0 < (threads := status.stats.get("threads", 0)) < planned:
        yield f"! {threads} of {count(planned, 'thread')} compute, as other programs need the cores"
    yield from (f"! not loaded as planned: {change}" for change in status.fallback)
    if status.reload and status.reload.get("state") == "failed":
        yield f"! the last reload failed and changed nothing: {status.reload.get('message')}"


def _plan(plan: PlanReply) -> Iterator[str]:
    config = {k: v for k, v in plan.config.items() if k not in ("model", "name") and v not in ([], None)}
    facts = [f"{name} {shown(value)}" for name, value in config.items()]
    for start in range(0, len(facts), 6):
        yield ", ".join(facts[start : start + 6])
    yield from (f"- {reason}" for reason in plan.reasons)


def _settings(status: StatusReply) -> Iterator[str]:
    for name, setting in status.settings.items():
        if setting.source != "default":
            yield f"{name} = {shown(setting.value)} ({setting.source})"


def shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def count(number: int, noun: str) -> str:
    """Return `1 restart`, `2 restarts`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return the two largest units: `3 d 4 h`, `5 min 2 s`."""
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def amount(number: int | None, suffix: str) -> str | None:
    """Return `1.78 GB` for suffix "B"; None if the number is unknown."""
    if not number:
        return None
    letter, unit = next(
        ((p, u) for p, u in (("G", 10**9), ("M", 10**6), ("k", 10**3)) if number >= u), ("", 1)
    )
    return f"{number / unit:.3g} {letter}{suffix}"
