"""Writes models of random weights, to time one type of weights.

They have a few layers of the shape of DeepSeek-R1-Distill-Qwen-1.5B (its config.json). The time of a step
depends on the bytes of the weights, not on their values, as long as these are ordinary numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeinfer.gguf.ggml_types import BY_NAME, TYPES, row_bytes

WIDTH, FEED_FORWARD, HEADS, KV_HEADS = 1536, 8960, 12, 2
KV_WIDTH = WIDTH // HEADS * KV_HEADS
VOCABULARY = 512
"""The 256 bytes, the end token, and fillers: so few that the output costs nothing compared to the layers."""

CONTEXT = 4096
ALIGNMENT = 32
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
NORMAL, CONTROL = 1, 3
END = 256
"""The end token, after those of the bytes."""

SCALES: dict[str, tuple[int, ...]] = {
    "Q4_0": (0,),
    "Q5_0": (0,),
    "Q8_0": (0,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}
"""Offsets of the half-precision scales in a block (ggml-common.h). Random bits there could be infinite or NaN."""

SMALL = np.float16(0.001)


class _Tensor(NamedTuple):
    name: str
    shape: tuple[int, ...]
    type: str

    @property
    def nbytes(self) -> int:
        rows = 1 if len(self.shape) == 1 else self.shape[1]
        return rows * row_bytes(self.type, self.shape[0])


def layer_bytes(kind: str) -> int:
    """Return the bytes of a layer's matrices."""
    return sum(tensor.nbytes for tensor in _layer(0, kind) if len(tensor.shape) == 2)


def layer_weights() -> int:
    """Return the number of elements of a layer's matrices."""
    return 2 * WIDTH * WIDTH + 2 * WIDTH * KV_WIDTH + 3 * WIDTH * FEED_FORWARD


def write_model(path: Path, kind: str, size: int) -> tuple[int, int]:
    """Write a model whose matrices of type `kind` have about `size` bytes.

    Returns:
        The bytes they have, and the number of layers.
    """
    tensors = [
        _Tensor("token_embd.weight", (WIDTH, VOCABULARY), "F16"),
        _Tensor("output_norm.weight", (WIDTH,), "F32"),
    ]
    layers = max(1, round(size / layer_bytes(kind)))
    for index in range(layers):
        tensors += _layer(index, kind)
    with path.open("wb") as file:
        head = _header(tensors, layers)
        file.write(head + bytes(-len(head) % ALIGNMENT))
        noise = np.random.default_rng(0)
        for tensor in tensors:
            file.write(_data(tensor, noise).tobytes())
            file.write(bytes(-tensor.nbytes % ALIGNMENT))
    return layers * layer_bytes(kind), layers


def _layer(index: int, kind: str) -> list[_Tensor]:
    block = f"blk.{index}."
    matrices = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, KV_WIDTH),
        "attn_v": (WIDTH, KV_WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (WIDTH, FEED_FORWARD),
        "ffn_up": (WIDTH, FEED_FORWARD),
        "ffn_down": (FEED_FORWARD, WIDTH),
    }
    biases = {"attn_q": WIDTH, "attn_k": KV_WIDTH, "attn_v": KV_WIDTH}
    return [
        *(_Tensor(f"{block}{name}.weight", (WIDTH,), "F32") for name in ("attn_norm", "ffn_norm")),
        *(_Tensor(f"{block}{name}.bias", (width,), "F32") for name, width in biases.items()),
        *(_Tensor(f"{block}{name}.weight", shape, kind) for name, shape in matrices.items()),
    ]


def _data(tensor: _Tensor, noise: np.random.Generator) -> NDArray[np.uint8]:
    if tensor.type == "F32":
        return np.full(tensor.shape[0], float(tensor.name.endswith("norm.weight")), np.float32).view(np.uint8)
    if tensor.type == "F16":
        values = noise.random(tensor.shape[0] * tensor.shape[1], np.float32) - 0.5
        return (0.05 * values).astype(np.float16).view(np.uint8)
    block = BY_NAME[tensor.type].nbytes
    blocks = noise.integers(0, 256, (tensor.nbytes // block, block), np.uint8)
    for at in SCALES[tensor.type]:
        blocks[:, at : at + 2] = np.frombuffer(SMALL.tobytes(), np.uint8)
    return blocks


def _header(tensors: list[_Tensor], layers: int) -> bytes:
    values = list(_metadata(layers))
    numbers = {kind.name: number for number, kind in TYPES.items()}
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(values)), *values]
    offset = 0
    for tensor in tensors:
        parts += [_string(tensor.name), struct.pack("<I", len(tensor.shape))]
        parts += [struct.pack("<Q", n) for n in tensor.shape]
        parts.append(struct.pack("<IQ", numbers[tensor.type], offset))
        offset += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    return b"".join(parts)


def _metadata(layers: int) -> Iterator[bytes]:
    yield _text("general.architecture", "qwen2")
    yield _text("general.name", "synthetic")
    shape = {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": layers,
        "feed_forward_length": FEED_FORWARD,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
    }
    for key, number in shape.items():
        yield _string(f"qwen2.{key}") + struct.pack("<II", UINT32, number)
    yield _string("qwen2.attention.layer_norm_rms_epsilon") + struct.pack("<If", FLOAT32, 1e-6)
    yield _text("tokenizer.ggml.model", "gpt2")
    yield _text("tokenizer.ggml.pre", "qwen2")
    tokens = [*_alphabet(), "<|endoftext|>"]
    tokens += [f"[{n}]" for n in range(VOCABULARY - len(tokens))]
    yield _array("tokenizer.ggml.tokens", tokens)
    kinds = [NORMAL] * VOCABULARY
    kinds[END] = CONTROL
    yield _string("tokenizer.ggml.token_type") + struct.pack(
        f"<IIQ{VOCABULARY}i", ARRAY, INT32, VOCABULARY, *kinds
    )
    yield _array("tokenizer.ggml.merges", ["Ġ Ġ"])
    yield _string("tokenizer.ggml.eos_token_id") + struct.pack("<II", UINT32, END)


def _alphabet() -> list[str]:
    """Return GPT-2's letters for the 256 bytes: printable ones stand for themselves, the others follow at U+0100."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _text(key: str, value: str) -> bytes:
    return _string(key) + struct.pack("<I", STRING) + _string(value)


def _array(key: str, values: list[str]) -> bytes:
    head = struct.pack("<IIQ", ARRAY, STRING, len(values))
    return _string(key) + head + b"".join(map(_string, values))
