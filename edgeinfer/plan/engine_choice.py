"""Chooses the engine for a machine: llama.cpp everywhere, vLLM for graphics cards that it is made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.vllm_program import find_vllm
from edgeinfer.plan.vllm_cards import GIB, VENDORS, card_problem, usable_cards
from edgeinfer.settings import Settings

INSTALL_VLLM = (
    "install it in an environment of its own (python3 -m venv /opt/vllm && /opt/vllm/bin/pip install vllm), "
    "then --vllm-command /opt/vllm"
)

LLAMA_ONLY = ("layout", "cells", "flash_attention", "kv_type", "ubatch", "batch", "threads", "gpu_layers")
"""Settings that only llama.cpp has."""


class EngineChoice(NamedTuple):
    """The engine for models that are to be had for both; the reason is None where there was nothing to choose."""

    engine: Literal["llama.cpp", "vllm"]
    reason: str | None = None


def choose_engine(profile: HardwareProfile, settings: Settings) -> EngineChoice:
    """Choose the engine that the settings ask for, or that suits the machine's cards and is installed."""
    if settings.engine == "vllm":
        return EngineChoice("vllm")
    if settings.engine == "llama.cpp":
        return EngineChoice("llama.cpp")
    cards = usable_cards(profile)
    if not cards:
        return EngineChoice("llama.cpp", _unsuitable(profile))
    if given := next((name for name in LLAMA_ONLY if getattr(settings, name) is not None), None):
        return EngineChoice("llama.cpp", f"engine llama.cpp: {given} is one of its settings")
    if find_vllm(settings.vllm_command) is None:
        return EngineChoice(
            "llama.cpp",
            f"engine llama.cpp: vLLM is not installed; for many answers at once it suits {named(cards)} better "
            f"({INSTALL_VLLM})",
        )
    several = (
        " Tensor parallelism joins them for models that are too large for one." if len(cards) > 1 else ""
    )
    return EngineChoice(
        "vllm", f"engine vllm: it is made for many answers at once on {named(cards)}.{several}".rstrip(".")
    )


def named(cards: Sequence[Gpu]) -> str:
    """Say which cards these are, with their memory."""
    size = f"{round((cards[0].memory or 0) / GIB)} GB"
    if len(cards) == 1:
        return f"the {cards[0].name} with {size}"
    return f"{len(cards)} cards with {size} each"


def _unsuitable(profile: HardwareProfile) -> str | None:
    """Say why none of the cards that vLLM could know is used."""
    problems = [card_problem(gpu) for gpu in profile.gpus if gpu.vendor in VENDORS and not gpu.shared]
    return f"engine llama.cpp: {problems[0]}" if problems else None
