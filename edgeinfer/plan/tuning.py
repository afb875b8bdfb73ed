"""Settings that `edgeinfer bench --calibrate --model NAME` has measured to be fastest for a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.config import Determinism, Layout
from edgeinfer.gguf.header import Header
from edgeinfer.settings import Settings

SETTINGS = ("layout", "flash_attention", "ubatch", "threads", "max_draft")
"""What is tried, in this order."""

DEPENDS_ON = ("layout", "cells", "flash_attention", "kv_type", "batch", "ubatch", "threads", "gpu_layers")
"""Settings without which it was measured: where one is given, what is fastest may be something else."""

Text = Annotated[str, Meta(max_length=1000)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Rate = Annotated[float, Meta(gt=0, le=1e7)]
"""What a file can say; anything else was not measured."""


class Speeds(msgspec.Struct, frozen=True):
    """Measured speeds, in tokens per second.

    Attributes:
        prompt: of a prompt.
        answer: of one answer.
        together: of as many answers as may run at a time, with the time for their prompts.
        predicted: of an answer that the request predicts; None if nothing is guessed.
    """

    prompt: Rate
    answer: Rate
    together: Rate
    predicted: Rate | None = None

    def ratios(self, other: Speeds) -> dict[str, float]:
        """How many times as fast each is as in `other`."""
        ratios = {
            name: getattr(self, name) / getattr(other, name) for name in ("prompt", "answer", "together")
        }
        if self.predicted and other.predicted:
            ratios["predicted"] = self.predicted / other.predicted
        return ratios


class Tuning(msgspec.Struct, frozen=True):
    """The fastest settings found for one model; None where the plan's own choice is.

    Attributes:
        measured: time of the measurement in UTC, as ISO 8601.
        parallel: answers at a time.
        gpu_layers, determinism: as the plan had them.
        planned: the speeds with the plan's own choices.
        tuned: the speeds with these settings.
        tried: how many other settings were tried.
    """

    measured: Text
    parallel: Count
    gpu_layers: int
    determinism: Determinism
    planned: Speeds
    tuned: Speeds
    tried: Annotated[int, Meta(ge=0, le=1000)]
    layout: Layout | None = None
    flash_attention: bool | None = None
    ubatch: Annotated[int, Meta(ge=8, le=65_536)] | None = None
    threads: Annotated[int, Meta(ge=1, le=512)] | None = None
    max_draft: Annotated[int, Meta(ge=0, le=64)] | None = None

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that differ from the plan's own."""
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}

    def suits(self, config: LlamaConfig, settings: Settings) -> bool:
        """Whether it was measured with a plan like this one, and no setting is given that it depends on."""
        if any(getattr(settings, name) is not None for name in DEPENDS_ON):
            return False
        if settings.max_draft != Settings().max_draft:
            return False
        return (self.gpu_layers, self.determinism) == (config.gpu_layers, config.determinism)

    def applied(self, settings: Settings) -> Settings:
        return replace(settings, **self.changes)

    def reasons(self) -> list[str]:
        """Return a sentence for each setting, which begins with it."""
        gains = ", ".join(
            f"{ABOUT[name].format(self.parallel)} {ratio:.2f} times"
            for name, ratio in self.tuned.ratios(self.planned).items()
        )
        why = f"measured with this model, which computes {gains} as fast as with the plan's own choice"
        return [f"{name} {shown(value)}: {why}" for name, value in self.changes.items()]


ABOUT = {
    "prompt": "a prompt",
    "answer": "one answer",
    "together": "{} answers",
    "predicted": "a predicted answer",
}


def model_key(path: str, header: Header | None) -> str:
    """Return what a model's measurements are kept under: the name of its file, and the size of its weights."""
    return f"{Path(path).name} {header.size if header else 0}"


def shown(value: Any) -> str:
    """Return a setting's value as reasons write it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
