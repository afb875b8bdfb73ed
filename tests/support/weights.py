"""The weights of a GGUF file, for networks computed without llama.cpp."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def read_weights(path: Path) -> dict[str, Array]:
    """The tensors by name, as numpy counts their dimensions."""
    return {
        tensor.name: np.array(tensor.data, np.float64).reshape([int(n) for n in reversed(tensor.shape)])
        for tensor in gguf.GGUFReader(path).tensors
    }


def softmax(x: Array) -> Array:
    """Shares along the last dimension."""
    powers: Array = np.exp(x - x.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares
