"""Memory bandwidth of known machines, as reached while one answer is generated.

Boards: measured tokens per second, times the bytes of weights that one token reads. GPUs: the peak from the data
sheet, times the share that llama.cpp reaches.
"""

from __future__ import annotations

import re

import msgspec

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu

GB = 1e9


class Bandwidth(msgspec.Struct, frozen=True):
    """Speed at which a processor reads weights.

    Attributes:
        rate: bytes per second.
        overhead: seconds per token beyond reading the weights.
        source: where the figure comes from, such as "known for rk3588".
    """

    rate: float
    overhead: float
    source: str


CPU_FAMILIES: dict[str, float] = {
    "raspberry-pi-4": 3.2,  # Llama 3.2 3B Q4_K_M (2.02 GB): 1.6 tok/s on a Pi 400
    "raspberry-pi-5": 10.0,  # the same: 4.9 tok/s; 8B (4.9 GB): 2.2
    "rk3588": 10.0,  # four A76: Qwen3-0.6B Q4_0 25.7 tok/s, a 1B at Q4_1 13.2
    "rk3566": 0.8,  # Llama 3.2 1B Q4_K_M (0.81 GB): 1.0 tok/s on an Orange Pi 3B
}
CPU_NAMES: tuple[tuple[str, float], ...] = (
    (r"\bN(95|97|100|150)\b", 18.0),  # N150: Llama 3.2 3B Q4_K_M 9.1 tok/s
    (r"Ryzen AI 5 340\b", 48.0),  # the same: 23.8 tok/s
)

CARD_SHARE, CARD_OVERHEAD = 0.84, 1.5e-3
"""An RTX 3060 (360 GB/s) generates 123 tok/s of a 3B (2.02 GB) and 279 of a 1.1B (0.64 GB), both Q4_K_M."""

SHARED_SHARE = 0.75
APPLE_OVERHEAD = 2e-3
"""An M4 (120 GB/s): 41 tok/s of a 3B (2.02 GB)."""

JETSON_OVERHEAD = 5e-3
"""An Orin Nano: 139 tok/s of a model of 135 M parameters, whose weights it could read six times as fast."""

CARDS: tuple[tuple[str, int], ...] = (
    (r"RTX 5090\b", 1792),
    (r"RTX 5080\b", 960),
    (r"RTX 5070 Ti\b", 896),
    (r"RTX 5070\b", 672),
    (r"RTX 50[56]0\b", 320),
    (r"RTX 4090\b", 1008),
    (r"RTX 4080\b", 717),
    (r"RTX 4070 Ti\b", 504),
    (r"RTX 4070\b", 504),
    (r"RTX 40[56]0\b.*(Laptop|Max-Q)", 256),
    (r"RTX 4060\b", 272),
    (r"RTX 3090\b", 936),
    (r"RTX 3080\b", 760),
    (r"RTX 3070\b", 448),
    (r"RTX 3060 Ti\b", 448),
    (r"RTX 3060\b.*(Laptop|Max-Q)", 336),
    (r"RTX 3060\b", 360),
    (r"RTX 3050\b.*(Laptop|Max-Q)", 192),
    (r"RTX 3050\b", 224),
    (r"GTX 1660\b", 192),
    (r"GTX 1650\b", 128),
    (r"Tesla T4\b|\bT4\b", 320),
    (r"\bL4\b", 300),
    (r"RX 7900 XTX\b", 960),
    (r"RX 7800 XT\b", 624),
    (r"RX 6700 XT\b", 384),
    (r"RX 6600\b", 224),
)
"""Pattern of a card's name -> GB/s; the smallest where cards of one name differ (12 and 8 GB, mobile ones)."""

APPLE: dict[str, int] = {
    "m1": 68,
    "m1-pro": 200,
    "m1-max": 400,
    "m2": 100,
    "m2-pro": 200,
    "m2-max": 400,
    "m3": 100,
    "m3-pro": 150,
    "m3-max": 300,
    "m4": 120,
    "m4-pro": 273,
    "m4-max": 410,
    "a18-pro": 60,
}
JETSONS: dict[str, int] = {"jetson-orin-nano": 68, "jetson-orin-nx": 102, "jetson-agx-orin": 204}
JETSON_SUPER = 102
"""GB/s of an Orin Nano whose device tree says "Super"."""


def cpu_bandwidth(profile: HardwareProfile) -> Bandwidth | None:
    """Return the CPU's bandwidth; None if it is unknown."""
    family = profile.board.family if profile.board else None
    if family in CPU_FAMILIES:
        return Bandwidth(CPU_FAMILIES[family] * GB, 0, f"known for {family}")
    for pattern, rate in CPU_NAMES:
        if profile.cpu_name and re.search(pattern, profile.cpu_name):
            return Bandwidth(rate * GB, 0, f"known for {profile.cpu_name}")
    return None


def gpu_bandwidth(gpu: Gpu, profile: HardwareProfile) -> Bandwidth | None:
    """Return a GPU's bandwidth; None if it is unknown."""
    family = (profile.board.family if profile.board else None) or ""
    if gpu.vendor == "apple":
        peak = APPLE.get(family.removeprefix("apple-"))
        share, overhead, name = SHARED_SHARE, APPLE_OVERHEAD, gpu.name
    elif gpu.shared:
        peak = JETSONS.get(family)
        if family == "jetson-orin-nano" and profile.board and "Super" in profile.board.model:
            peak = JETSON_SUPER
        share, overhead, name = SHARED_SHARE, JETSON_OVERHEAD, family
    else:
        peak = next((rate for pattern, rate in CARDS if re.search(pattern, gpu.name)), None)
        share, overhead, name = CARD_SHARE, CARD_OVERHEAD, gpu.name
    return Bandwidth(peak * share * GB, overhead, f"known for {name}") if peak else None
