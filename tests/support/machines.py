"""Machines to plan for, and the models of the catalogue's flagship."""

from __future__ import annotations

from typing import Any

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan import ModelOption
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.lookup import LocalModel
from edgeinfer.store.predicted_header import predicted_header

GB = 10**9
R1 = "deepseek-r1-distill-qwen-1.5b"

CARD = Gpu("nvidia", "Some card", "cuda", 12 * GB, 12 * GB, driver="580.1")
MALI = Gpu("arm", "Mali-G610", shared=True)
VIDEOCORE = Gpu("broadcom", "VideoCore VII", shared=True)
INTEL = Gpu("intel", "Intel Graphics", "vulkan", 8 * GB, 8 * GB, shared=True, driver="i915")
METAL = Gpu("apple", "Apple M2", "metal", 10 * GB, 8 * GB, shared=True, driver="Metal")


def r1(quant: str = "Q4_K_M") -> LocalModel:
    return LocalModel(R1, "/r1.gguf", predicted_header(catalogue()[R1], quant))


def machine(available: float = 14, *gpus: Gpu, isa: str = "neon dotprod", **facts: Any) -> HardwareProfile:
    """Return a machine with 16 GB, of which `available` GB are free. An ARM that is no known board has four Cortex-A76."""
    name = "Cortex-A76" if "neon" in isa and "board" not in facts else None
    cores = [CpuClass([0, 1, 2, 3], None, 2400, name, tuple(isa.split()))]
    fields: dict[str, Any] = {
        "cpus": cores,
        "cpu_quota": None,
        "memory": Memory(16 * GB, round(available * GB), None),
        "gpus": gpus,
    }
    return HardwareProfile(**fields | facts)


def offer(model: str, quant: str) -> ModelOption:
    header = predicted_header(catalogue()[model], quant) or predicted_header(catalogue()[model], "Q4_0")
    assert header is not None
    return ModelOption(model, quant, header, header.size)
