"""Tells which cards a CUDA toolkit can build for, and which drivers run what it builds."""

from __future__ import annotations

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.processor_tables import find_card

Version = tuple[int, ...]

MIN_COMPUTE = "5.0"
"""The oldest cards that llama.cpp supports: Maxwell."""

MIN_TOOLKIT = "11.0"
"""Older compilers do not know the C++ that llama.cpp is written in."""

LAST_FOR_OLD, MIN_COMPUTE_13 = "12", "7.5"
"""CUDA 13 dropped all cards before Turing; CUDA 12 was the last that had them."""

FIRST_TOOLKITS = {
    "12.1": "12.9",
    "12.0": "12.8",
    "11.0": "13.0",
    "10.3": "12.9",
    "10.0": "12.8",
    "9.0": "11.8",
    "8.9": "11.8",
    "8.7": "11.4",
    "8.6": "11.1",
    "8.0": "11.0",
}
"""Compute capability -> the first toolkit that can build for it."""

MIN_DRIVERS = {13: "580", 12: "525", 11: "450"}
"""First number of a toolkit -> the first driver that runs its programs."""


def cuda_problem(gpu: Gpu, profile: HardwareProfile) -> str | None:
    """Return why CUDA cannot compute on a card; None if it can, or the toolkit is not known.

    An installed llama.cpp that was built with CUDA has proved it.
    """
    if gpu.api != "cuda" or (profile.llama and "cuda" in profile.llama.apis):
        return None
    compute, toolkit = compute_capability(gpu), profile.cuda
    own = f"the {gpu.name} (compute capability {compute})" if compute else f"the {gpu.name}"
    if compute and version(compute) < version(MIN_COMPUTE):
        return f"{own} is too old for llama.cpp, which needs {MIN_COMPUTE}"
    if toolkit is None:
        return None
    if version(toolkit) < version(MIN_TOOLKIT):
        return f"CUDA {toolkit} is too old to build llama.cpp for {own}: it takes {MIN_TOOLKIT}"
    if compute and version(compute) < version(MIN_COMPUTE_13) and version(toolkit) >= (13,):
        return f"CUDA {toolkit} no longer supports {own}: CUDA {LAST_FOR_OLD} does"
    first = FIRST_TOOLKITS.get(compute or "")
    if first and version(toolkit) < version(first):
        return f"CUDA {toolkit} does not know {own} yet: it takes {first}"
    driver = MIN_DRIVERS.get(version(toolkit)[0])
    if driver and not gpu.shared and gpu.driver and (0,) < version(gpu.driver) < version(driver):
        return f"the driver {gpu.driver} of the {gpu.name} is too old for CUDA {toolkit}: it takes {driver}"
    return None


def compute_capability(gpu: Gpu) -> str | None:
    """Return what the driver tells, or else the table of cards."""
    if gpu.compute_capability or gpu.vendor != "nvidia":
        return gpu.compute_capability
    card = find_card(gpu.vendor, gpu.name)
    return card.series.compute if card else None


def version(text: str) -> Version:
    """Parse "12.4" to what can be compared; "nvidia" is (0,)."""
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
