"""Reads the header of a safetensors file, which names its tensors, and checks that it is sound.

This is the gate before anything else opens the file, which is untrusted. Layout: 8 bytes with the header's length
(little-endian), the header as JSON, then the tensors' data without gaps.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta

from edgeinfer.errors import ModelLoadFailed

MAX_HEADER_BYTES = 32 << 20
"""Bytes; files with 100,000 tensors have 15 MB."""

MAX_TENSORS = 1 << 17
MAX_DIMENSIONS = 8

BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F4": 4,
}  # fmt: skip
"""Bits of an element of each type."""

Dimension = Annotated[int, Meta(ge=0, lt=1 << 48)]
Offset = Annotated[int, Meta(ge=0, lt=1 << 48)]


class StoredTensor(msgspec.Struct, frozen=True):
    """Describes one tensor.

    Attributes:
        shape: elements in each dimension, the last of which is contiguous.
        nbytes: size of its data.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def count(self) -> int:
        """Its number of elements."""
        return math.prod(self.shape)


class SafetensorsHeader(msgspec.Struct, frozen=True):
    """The tensors of one file; `size` is the file's, in bytes."""

    tensors: tuple[StoredTensor, ...]
    size: int


class _Entry(msgspec.Struct):
    """A tensor as the header describes it."""

    dtype: str
    shape: Annotated[tuple[Dimension, ...], Meta(max_length=MAX_DIMENSIONS)]
    data_offsets: tuple[Offset, Offset]


def read_safetensors(path: Path) -> SafetensorsHeader:
    """Read and check the header of a file.

    Raises:
        ModelLoadFailed: it cannot be read, or is not a sound safetensors file.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except OSError as e:
        raise ModelLoadFailed(f"{path.name} cannot be read: {e.strerror}", param="model") from e
    except ValueError as e:
        raise ModelLoadFailed(
            f"{path.name} is not a sound safetensors file: {e}",
            param="model",
            hint="download it again, or get it from another source",
        ) from e


def _read(file: BinaryIO, size: int) -> SafetensorsHeader:
    head = file.read(8)
    if len(head) < 8:
        raise ValueError(f"it has {size} bytes")
    (length,) = struct.unpack("<Q", head)
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length} bytes, and no real file more than {MAX_HEADER_BYTES}")
    if length > size - 8:
        raise ValueError(f"its header has {length} bytes, and the file only {size}: it is not complete")
    try:
        entries = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as e:
        raise ValueError(f"its header is not JSON: {e}") from None
    entries.pop("__metadata__", None)
    if len(entries) > MAX_TENSORS:
        raise ValueError(f"it has {len(entries)} tensors")
    if not entries:
        raise ValueError("it has no tensors")
    placed = sorted(
        (_tensor(name, raw) for name, raw in entries.items()),
        key=lambda tensor: (tensor[0], tensor[1].nbytes),
    )
    end = 0
    for begin, tensor in placed:
        if begin != end:
            kind = "overlaps the one before it" if begin < end else "leaves a gap before it"
            raise ValueError(f"the data of tensor {_short(tensor.name)} {kind}")
        end += tensor.nbytes
    if end != size - 8 - length:
        raise ValueError(
            f"its tensors have {end} bytes, and {size - 8 - length} follow the header: it is not complete"
            if end > size - 8 - length
            else f"{size - 8 - length - end} bytes follow its tensors"
        )
    return SafetensorsHeader(tuple(tensor for _, tensor in placed), size)


def _tensor(name: str, raw: msgspec.Raw) -> tuple[int, StoredTensor]:
    """Where the tensor's data begins, and the tensor."""
    try:
        entry = msgspec.json.decode(raw, type=_Entry)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"tensor {_short(name)}: {e}") from None
    if entry.dtype not in BITS:
        raise ValueError(f"tensor {_short(name)} has the unknown type {entry.dtype[:20]!r}")
    begin, end = entry.data_offsets
    bits = math.prod(entry.shape) * BITS[entry.dtype]
    if bits != (end - begin) * 8:
        raise ValueError(f"tensor {_short(name)} has {end - begin} bytes, and its shape needs {bits // 8}")
    return begin, StoredTensor(name, entry.dtype, entry.shape, end - begin)


def _short(name: str) -> str:
    return repr(name[:100])
