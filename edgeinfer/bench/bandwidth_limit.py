"""How fast one answer can be at most: each token reads all weights once."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.errors import EdgeinferError
from edgeinfer.gguf.header import read_header
from edgeinfer.plan.calibration import Calibration
from edgeinfer.plan.speed import read_bytes


def bandwidth_limit(model: Path, calibration: Calibration) -> float | None:
    """Return the tokens per second at which reading this file's weights would take all of the memory's bandwidth.

    That is the fastest rate at which the calibration has read weights of any type. None on a machine with a GPU,
    where weights lie in either memory, and for a file that cannot be read.
    """
    if calibration.cpu is None or calibration.gpu is not None:
        return None
    try:
        read, _ = read_bytes(read_header(model), 0)
    except EdgeinferError:
        return None
    size, bandwidth = sum(read.values()), max(calibration.cpu.decode.values(), default=0.0)
    return bandwidth / size if size and bandwidth else None
