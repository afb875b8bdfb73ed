"""Tells which cards vLLM can use, and whether it should rather than llama.cpp."""

from __future__ import annotations

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu

GIB = 1024**3

MIN_CARD = 8 * GIB - GIB // 2
"""Bytes of memory from which vLLM is worth it; drivers report a little less than what is on the box."""

VENDORS = ("nvidia", "amd")

MIN_CAPABILITY = 7
"""Compute capability that vLLM's wheels are built for, Volta's."""


def usable_cards(profile: HardwareProfile) -> list[Gpu]:
    """List the cards that vLLM can use, those with the most free memory first.

    They are of one vendor. A GPU that shares the machine's RAM is none: vLLM would take it from everybody else.
    """
    cards = [gpu for gpu in profile.gpus if card_problem(gpu) is None]
    first = next((vendor for vendor in VENDORS if any(card.vendor == vendor for card in cards)), None)
    alike = [card for card in cards if card.vendor == first]
    return sorted(
        alike, key=lambda card: -(card.available if card.available is not None else card.memory or 0)
    )


def card_problem(gpu: Gpu) -> str | None:
    """Return why vLLM cannot use a GPU; None if it can."""
    if gpu.vendor not in VENDORS:
        return f"vLLM does not know the {gpu.name}"
    if gpu.shared:
        return f"the {gpu.name} shares the machine's RAM"
    if gpu.driver is None or gpu.api is None:
        return f"the driver of the {gpu.name} is missing"
    if gpu.memory is None or gpu.memory < MIN_CARD:
        size = "of unknown size" if gpu.memory is None else f"{gpu.memory / GIB:.0f} GB"
        return f"the {gpu.name} has {size}, and vLLM needs 8 GB to be worth it"
    major = (gpu.compute_capability or "").partition(".")[0]
    if major.isdigit() and int(major) < MIN_CAPABILITY:
        return f"the {gpu.name} is too old for vLLM: compute capability {gpu.compute_capability}"
    return None
