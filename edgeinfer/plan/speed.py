"""How fast a model writes: one token reads all weights once, so it takes their bytes over the bandwidth.

Where nothing was measured and the machine is not known, there is no figure; which of two quantizations is the
faster is known all the same.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from edgeinfer.gguf.header import Header, Tensor
from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.bandwidth import of_cpu, of_gpu
from edgeinfer.plan.calibration import Calibration, Rates
from edgeinfer.plan.memory_estimate import on_gpu
from edgeinfer.plan.transformer_shape import network

AMX_K = 2.0
"""On a CPU with AMX a byte of a K quantization takes as long as so many of another: R1 1.5B wrote 14.2 tok/s at
Q4_0 and 8.1 at Q4_K_M on two cores. Elsewhere a byte is a byte."""


CALIBRATE = "edgeinfer bench --calibrate"


class Speed(msgspec.Struct, frozen=True):
    """Tokens a second of one answer (`decode`) and of reading a prompt; None: not known. `source`: how we know."""

    decode: float | None = None
    prefill: float | None = None
    source: str | None = None


def predict(
    header: Header | None,
    gpu_layers: int,
    profile: HardwareProfile,
    calibration: Calibration | None = None,
    gpu: Gpu | None = None,
) -> Speed:
    """The speed of a model that has `gpu_layers` on `gpu`."""
    if header is None or not header.tensors:
        return Speed()
    on_cpu, on_card = read_bytes(header, gpu_layers)
    cpu, sources = _time(on_cpu, calibration.cpu if calibration else None, None, profile)
    card, others = _time(on_card, calibration.gpu if calibration else None, gpu, profile)
    if cpu is None or card is None or cpu + card == 0:
        return Speed()
    return Speed(1 / (cpu + card), _prefill(header, on_cpu, on_card, calibration), others or sources)


def _time(
    read: dict[str, float], measured: Rates | None, gpu: Gpu | None, profile: HardwareProfile
) -> tuple[float | None, str | None]:
    """Seconds that reading takes, and how that is known."""
    if not read:
        return 0.0, None
    if measured:
        rates = measured.decode
        if all(kind in rates or "" in rates for kind in read):
            spent = sum(size / rates.get(kind, rates.get("", 1)) for kind, size in read.items())
            return spent + measured.overhead, "measured here"
    known = of_gpu(gpu, profile) if gpu else of_cpu(profile)
    if known is None:
        return None, None
    cost = sum(read.values()) if gpu else cost_of(read, instruction_sets(profile))
    return cost / known.rate + known.overhead, known.source


def _prefill(
    header: Header, on_cpu: dict[str, float], on_card: dict[str, float], calibration: Calibration | None
) -> float | None:
    """Known where it was measured, of a model that is wholly on one side."""
    if calibration is None or (on_cpu and on_card):
        return None
    rates = calibration.gpu if on_card else calibration.cpu
    weights = sum(_elements(tensor) for tensor in header.tensors if tensor.name.startswith("blk."))
    return rates.prefill / weights if rates and rates.prefill and weights else None


def read_bytes(header: Header, gpu_layers: int) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes of weights that one token reads, by type: from RAM, and from the GPU's memory.

    The token embedding counts only where it is the output matrix too; of experts those that are used.
    """
    net = network(header)
    tied = all(tensor.name != "output.weight" for tensor in header.tensors)
    ram: dict[str, float] = {}
    card: dict[str, float] = {}
    for tensor in header.tensors:
        embedding = tensor.name.startswith("token_embd.")
        if embedding and not tied:
            continue
        there = gpu_layers != 0 if embedding else on_gpu(tensor.name, net.layers, gpu_layers)
        side = card if there else ram
        share = net.active_experts if "_exps." in tensor.name else 1.0
        side[tensor.type] = side.get(tensor.type, 0.0) + tensor.nbytes * share
    return ram, card


def cost_of(read: dict[str, float], isa: Collection[str]) -> float:
    """The bytes, weighed by how hard their types are on this CPU."""
    return sum(size * (AMX_K if "amx" in isa and kind.endswith("_K") else 1) for kind, size in read.items())


def instruction_sets(profile: HardwareProfile) -> frozenset[str]:
    """Those that llama.cpp will use: what the cores have, and it was built for."""
    own = frozenset(profile.cpus[0].isa or ()) if profile.cpus else frozenset()
    return own & frozenset(profile.llama.isa) if profile.llama and profile.llama.isa else own


def _elements(tensor: Tensor) -> int:
    count = 1
    for length in tensor.shape:
        count *= length
    return count
