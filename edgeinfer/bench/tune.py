"""Measures which settings are fastest for one model on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.bench.measure import open_benchmark
from edgeinfer.errors import EdgeinferError
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan import plan_model
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.tuning import SETTINGS, Speeds, Tuning, shown
from edgeinfer.settings import Settings
from edgeinfer.store.lookup import LocalModel

PROMPT_TOKENS, ANSWER_TOKENS, BRIEF_PROMPT_TOKENS, BRIEF_ANSWER_TOKENS = 256, 16, 8, 8

MIN_GAIN = 1.03
"""Mean gain in speed from which other settings are kept; less is within what a measurement repeats to."""

MAX_LOSS = 0.95
"""Ratio below which no single speed may fall."""

MAX_SECONDS = 45.0
"""Time after which nothing more is tried. It is over within a minute, unless the model takes long to load."""

UBATCHES = (64, 128, 256, 512)
MORE_DRAFT = 31

Note = Callable[[str], None]


async def tune(
    model: LocalModel,
    profile: HardwareProfile,
    settings: Settings,
    calibration: Calibration | None,
    note: Note = lambda _: None,
    max_seconds: float = MAX_SECONDS,
) -> Tuning:
    """Try other settings than the plan's, one after the other, and keep what is faster.

    Only settings that promise as much as the plan's are tried: where answers do not depend on each other, they still do
    not. What seems to be faster is compared with the fastest so far once more, as a processor's clock changes.

    Raises:
        EdgeinferError: the model cannot be planned or loaded.
    """
    started = time.monotonic()
    plain = replace(calibration, models={}) if calibration else None
    base = plan_model(model, profile, settings, plain).llama

    def planned(changes: dict[str, Any]) -> LlamaConfig | None:
        try:
            plan = plan_model(model, profile, replace(settings, **changes), plain)
        except EdgeinferError:
            return None
        suits = plan.fits is not False and plan.llama.determinism == base.determinism
        return plan.llama if suits and plan.llama.parallel == base.parallel else None

    best, changes, tried = base, dict[str, Any](), 0
    note(f"{model.name}: the plan's own settings …")
    first = fastest = await _speeds(base)
    for name in SETTINGS:
        for value in _others(name, best):
            config = planned({**changes, name: value})
            if config is None or config == best:
                continue
            if time.monotonic() - started > max_seconds:
                note(f"{name} {shown(value)}: not tried, there is no more time")
                continue
            note(f"{name} {shown(value)} …")
            tried += 1
            try:
                speeds = await _speeds(config)
                if _is_better(speeds, fastest) and _is_better(speeds, again := await _speeds(best)):
                    first = first if changes else again
                    best, changes, fastest = config, {**changes, name: value}, speeds
            except EdgeinferError as e:
                note(f"{name} {shown(value)}: {e.message}")
    return Tuning(
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        parallel=base.parallel,
        gpu_layers=base.gpu_layers,
        determinism=base.determinism,
        planned=first,
        tuned=fastest if changes else first,
        tried=tried,
        **changes,
    )


def _others(name: str, config: LlamaConfig) -> list[Any]:
    """Other values of a setting that are worth a try."""
    match name:
        case "layout":
            return ["unified" if config.layout == "streams" else "streams"]
        case "flash_attention":
            return [not config.flash_attention]
        case "ubatch":
            return [n for n in UBATCHES if n in (config.ubatch // 2, config.ubatch * 2)]
        case "threads":
            return [config.threads // 2] if config.threads > 2 else []
        case _:
            return [MORE_DRAFT] if 0 < config.max_draft < MORE_DRAFT else []


async def _speeds(config: LlamaConfig) -> Speeds:
    prompt, answer = (min(wanted, config.ctx // 4) for wanted in (PROMPT_TOKENS, ANSWER_TOKENS))
    async with open_benchmark(config) as benchmark:
        await benchmark.measure(16, 4)  # loads pages, starts threads
        alone = await benchmark.measure(prompt, answer)
        together = await benchmark.concurrent_throughput(
            config.parallel, BRIEF_PROMPT_TOKENS, min(BRIEF_ANSWER_TOKENS, answer)
        )
        predicted = await benchmark.predicted_rate(BRIEF_PROMPT_TOKENS, answer) if config.max_draft else None
    return Speeds(alone.prompt_rate, alone.answer_rate, together, predicted)


def _is_better(speeds: Speeds, other: Speeds) -> bool:
    ratios = list(speeds.ratios(other).values())
    return math.prod(ratios) ** (1 / len(ratios)) >= MIN_GAIN and min(ratios) >= MAX_LOSS
