"""Predicts how fast a model generates: one token reads all weights once, at the memory's bandwidth.

A machine that nobody has measured is estimated, on the careful side.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from edgeinfer.gguf.header import Header, Tensor
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.bandwidth import Bandwidth, cpu_bandwidth, gpu_bandwidth
from edgeinfer.plan.calibration import Calibration, Rates
from edgeinfer.plan.memory_estimate import on_gpu
from edgeinfer.plan.transformer_shape import transformer_shape

AMX_K = 2.0
"""Cost of a byte of a K quantization on a CPU with AMX, relative to other types: R1 1.5B generated 14.2 tok/s at Q4_0
and 8.1 at Q4_K_M on two cores. Other CPUs read all types at the same speed."""


CALIBRATE = "edgeinfer bench --calibrate"


class Speed(msgspec.Struct, frozen=True):
    """Tokens per second while one answer is generated and while a prompt is read; None if unknown.

    `source` says where the figures come from.
    """

    decode: float | None = None
    prefill: float | None = None
    source: str | None = None


def predict(
    header: Header | None,
    gpu_layers: int,
    profile: HardwareProfile,
    calibration: Calibration | None = None,
    gpu: Gpu | None = None,
    threads: int | None = None,
) -> Speed:
    """Predict the speed of a model with `gpu_layers` on `gpu`, and the rest on so many `threads`."""
    if header is None or not header.tensors:
        return Speed()
    on_cpu, on_card = read_bytes(header, gpu_layers)
    # A GPU of which nothing is known but that it reads the same RAM is no faster than the CPU.
    cpu_rate = cpu_bandwidth(profile, threads)
    card_rate = (gpu and gpu_bandwidth(gpu, profile)) or cpu_rate
    isa = instruction_sets(profile)
    cpu, cpu_source = _time(on_cpu, calibration.cpu if calibration else None, cpu_rate, isa)
    card, card_source = _time(on_card, calibration.gpu if calibration else None, card_rate)
    if cpu + card == 0:
        return Speed()
    return Speed(1 / (cpu + card), _prefill(header, on_cpu, on_card, calibration), card_source or cpu_source)


def _time(
    read: dict[str, float], measured: Rates | None, bandwidth: Bandwidth, isa: Collection[str] = ()
) -> tuple[float, str | None]:
    """Return the seconds that reading the weights takes, and the source of that figure."""
    if not read:
        return 0.0, None
    if measured:
        rates = measured.decode
        if all(kind in rates or "" in rates for kind in read):
            spent = sum(size / rates.get(kind, rates.get("", 1)) for kind, size in read.items())
            return spent + measured.overhead, "measured on this machine"
    return read_cost(read, isa) / bandwidth.rate + bandwidth.overhead, bandwidth.source


def _prefill(
    header: Header, on_cpu: dict[str, float], on_card: dict[str, float], calibration: Calibration | None
) -> float | None:
    """Return the measured prefill speed; None for a model that is split between CPU and GPU."""
    if calibration is None or (on_cpu and on_card):
        return None
    rates = calibration.gpu if on_card else calibration.cpu
    weights = sum(_elements(tensor) for tensor in header.tensors if tensor.name.startswith("blk."))
    return rates.prefill / weights if rates and rates.prefill and weights else None


def read_bytes(header: Header, gpu_layers: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return the bytes of weights that one token reads, by type: from RAM, and from GPU memory.

    The token embedding counts only if it is the output matrix too, experts only as far as they are used.
    """
    shape = transformer_shape(header)
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    ram: dict[str, float] = {}
    card: dict[str, float] = {}
    for tensor in header.tensors:
        embedding = tensor.name.startswith("token_embd.")
        if embedding and not tied:
            continue
        placed = gpu_layers != 0 if embedding else on_gpu(tensor.name, shape.layers, gpu_layers)
        side = card if placed else ram
        share = shape.active_experts if "_exps." in tensor.name else 1.0
        side[tensor.type] = side.get(tensor.type, 0.0) + tensor.nbytes * share
    return ram, card


def read_cost(read: dict[str, float], isa: Collection[str]) -> float:
    """Return the bytes, weighted by how slow their types are on this CPU."""
    return sum(size * (AMX_K if "amx" in isa and kind.endswith("_K") else 1) for kind, size in read.items())


def instruction_sets(profile: HardwareProfile) -> frozenset[str]:
    """Return the instruction sets that llama.cpp will use: the cores have them, and it was built for them."""
    own = frozenset(profile.cpus[0].isa or ()) if profile.cpus else frozenset()
    return own & frozenset(profile.llama.isa) if profile.llama and profile.llama.isa else own


def _elements(tensor: Tensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
    return count
