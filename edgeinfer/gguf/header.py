"""Reads a GGUF file's header, which describes the model and its tensors, without llama.cpp.

This is the gate before llama.cpp opens a file. A model file is untrusted: every count and length is checked
against the rest of the file before anything is allocated.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.charsmap import CHARSMAP
from edgeinfer.gguf.checks import check_alignment, check_metadata, check_type
from edgeinfer.gguf.file_types import FILE_TYPES
from edgeinfer.gguf.ggml_types import TYPES
from edgeinfer.gguf.rank_head import check_rank_head, is_reranker
from edgeinfer.gguf.reader import ARRAY, FetchRange, HeaderReader, Value
from edgeinfer.gguf.tokenizer_checks import TOKEN_TYPES, TOKENS, check_embeddings, check_tokenizer

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
"""Bytes; the default for files without general.alignment."""

MAX_KEYS = 4096
MAX_KEY_LENGTH = 256
MAX_TENSORS = 1 << 16
MAX_DIMENSIONS = 4
MAX_TENSOR_NAME = 63
"""Bytes; ggml stores a name with its terminating zero in 64."""


class Tensor(msgspec.Struct, frozen=True):
    """Describes one tensor of a file.

    Attributes:
        shape: elements in each dimension; a row's first, as ggml counts.
        type: such as "Q4_K".
        offset: where its data begins in the file.
        nbytes: size of its data.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    nbytes: int


class Header(msgspec.Struct, frozen=True):
    """Holds everything that precedes the tensors' data.

    Attributes:
        metadata: values by key, without long texts, arrays of texts and long arrays of numbers.
        tensors: in the order of the file.
        size: of the whole file, in bytes.
        lengths: the number of elements of each array, by key.
    """

    metadata: dict[str, Value]
    tensors: Sequence[Tensor]
    size: int
    lengths: dict[str, int] = {}

    @property
    def architecture(self) -> str:
        """The architecture, such as "qwen2"; "" if the header has none."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def vocabulary(self) -> int | None:
        """The number of tokens."""
        return self.lengths.get(TOKENS) or self.number("vocab_size")

    @property
    def file_type(self) -> str | None:
        """The quantization by general.file_type, such as "Q4_K_M"; None if it is missing or unknown."""
        number = self.metadata.get("general.file_type")
        return FILE_TYPES.get(number) if type(number) is int else None

    @property
    def reranks(self) -> bool:
        """It scores documents for a query, and neither generates nor embeds."""
        return is_reranker(self.metadata, self.lengths, _shapes(self.tensors))

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def by_type(self) -> dict[str, int]:
        """Return the bytes of all tensors of each type."""
        nbytes: dict[str, int] = {}
        for tensor in self.tensors:
            nbytes[tensor.type] = nbytes.get(tensor.type, 0) + tensor.nbytes
        return nbytes

    def number(self, key: str) -> int | None:
        """Return a count of the architecture, such as "block_count"; None if it is missing or makes no sense."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        return value if type(value) is int and value > 0 else None

    def per_layer(self, key: str) -> list[int] | None:
        """Return a count for each layer; most files have one number for all layers, some an array."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        layers = self.number("block_count") or 0
        if type(value) is int:
            return [value] * layers
        if isinstance(value, list) and len(value) == layers and all(type(v) is int for v in value):
            return [int(v) for v in value]
        return None


def read_header(path: Path) -> Header:
    """Read the header of the file at `path`.

    Raises:
        ModelLoadFailed: the file cannot be read, or is not a valid GGUF file.
    """
    try:
        str(path.resolve()).encode()  # as it is told to other processes and to records
    except UnicodeEncodeError:
        raise ModelLoadFailed(
            f"{str(path)!a}: the name of the file or of a folder is not UTF-8",
            param="model",
            hint="rename it",
        ) from None
    try:
        with path.open("rb", buffering=0) as file:

            def fetch(offset: int, n: int) -> bytes:
                file.seek(offset)
                return file.read(n)

            return _checked(str(path), HeaderReader(fetch, os.fstat(file.fileno()).st_size, chunk=1 << 18))
    except OSError as e:
        raise ModelLoadFailed(f"{path}: {e.strerror}", param="model") from e


def read_remote_header(fetch_range: FetchRange, size: int, name: str = "the remote file") -> Header:
    """Read the header of a file of `size` bytes through a server's ranges.

    A few ranges are fetched, each byte at most once. Errors of `fetch_range` are passed on.

    Raises:
        ModelLoadFailed: the file is not a valid GGUF file.
    """
    return _checked(name, HeaderReader(fetch_range, size, chunk=1 << 20))


def _checked(name: str, reader: HeaderReader) -> Header:
    try:
        return _read(reader)
    except (ValueError, EOFError) as e:
        hint = "is the download complete?" if isinstance(e, EOFError) else None
        raise ModelLoadFailed(f"{name} is not a valid GGUF file: {e}", param="model", hint=hint) from e


def _read(reader: HeaderReader) -> Header:
    if reader.take(4) != MAGIC:
        raise ValueError("it does not start with the bytes GGUF")
    if (version := reader.uint32()) not in VERSIONS:
        raise ValueError(
            "it is big-endian"
            if version and not version & 0xFFFF
            else f"GGUF version {version} is not supported"
        )
    n_tensors, n_keys = reader.uint64(), reader.uint64()
    if n_keys > MAX_KEYS:
        raise ValueError(f"it has {n_keys} metadata keys")
    if n_tensors > MAX_TENSORS:
        raise ValueError(f"it has {n_tensors} tensors")
    metadata, lengths = _metadata(reader, n_keys)
    check_metadata(metadata)
    check_tokenizer(metadata, lengths, reader)
    alignment = check_alignment(metadata.get("general.alignment", ALIGNMENT))
    tensors = _tensors(reader, n_tensors, alignment)
    shapes = _shapes(tensors)
    check_embeddings(metadata, shapes)
    check_rank_head(metadata, lengths, shapes)
    return Header(metadata, tensors, reader.size, lengths)


def _shapes(tensors: Iterable[Tensor]) -> dict[str, Sequence[int]]:
    return {tensor.name: tensor.shape for tensor in tensors}


def _metadata(reader: HeaderReader, n: int) -> tuple[dict[str, Value], dict[str, int]]:
    metadata: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    seen: set[str] = set()
    for _ in range(n):
        key = reader.text()
        if not key or len(key) > MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
            raise ValueError("a metadata key is empty, too long or not ASCII")
        if key in seen:
            raise ValueError(f"metadata key {key!r} appears twice")
        seen.add(key)
        kind = reader.uint32()
        value: Value | None
        if kind == ARRAY:
            lengths[key], value = reader.array(
                distinct=key == TOKENS, types=key == TOKEN_TYPES, charsmap=key == CHARSMAP
            )
        else:
            value = reader.value(kind)
        if value is not None:
            metadata[key] = value
    return metadata, lengths


def _tensors(reader: HeaderReader, n: int, alignment: int) -> list[Tensor]:
    """Read the tensors, which llama.cpp requires one after another, with gaps only for alignment."""
    tensors: dict[str, Tensor] = {}
    end = 0
    for _ in range(n):
        tensor = _tensor(reader)
        if tensor.name in tensors:
            raise ValueError(f"tensor {tensor.name!r} appears twice")
        end = -(-end // alignment) * alignment
        if tensor.offset != end:
            raise ValueError(f"tensor {tensor.name!r} is at {tensor.offset}, not at {end}")
        end += tensor.nbytes
        if end > reader.size:
            raise EOFError(f"tensor {tensor.name!r} runs past the end of the file")
        tensors[tensor.name] = tensor
    data = -(-reader.offset // alignment) * alignment
    if tensors and data + end > reader.size:
        raise EOFError(f"its tensors need {data + end} bytes, but it has {reader.size}")
    return [msgspec.structs.replace(tensor, offset=data + tensor.offset) for tensor in tensors.values()]


def _tensor(reader: HeaderReader) -> Tensor:
    """Read the next tensor; its offset is relative to the start of the data."""
    name = reader.text()
    if not name or len(name) > MAX_TENSOR_NAME or not name.isascii() or not name.isprintable():
        raise ValueError("a tensor's name is empty, too long or not ASCII")
    n_dims = reader.uint32()
    if not 1 <= n_dims <= MAX_DIMENSIONS:
        raise ValueError(f"tensor {name!r} has {n_dims} dimensions")
    shape = tuple(reader.uint64() for _ in range(n_dims))
    kind = TYPES.get(type_number := reader.uint32())
    if kind is None:
        raise ValueError(f"tensor {name!r} has the unknown type {type_number}")
    check_type(name, n_dims, kind.name)
    elements = math.prod(shape)
    if not elements or elements > reader.size * kind.block or shape[0] % kind.block:
        raise ValueError(f"tensor {name!r} of type {kind.name} has the shape {shape}")
    return Tensor(name, shape, kind.name, reader.uint64(), elements // kind.block * kind.nbytes)
