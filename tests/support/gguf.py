"""A small model to break, and ways to break its header."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9
TYPES = {int(kind): sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
FORMS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}

EMBEDDING, HEADS, KV_HEADS, LAYERS, FEED_FORWARD = 32, 2, 1, 2, 64

Span = tuple[int, int]
"""Where a number lies: offset and width."""


Weights = dict[str, npt.NDArray[np.float32]]

CONTROLS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = "{{ messages[0].content }}"


def write_tiny(
    path: Path,
    pre: str = "qwen2",
    change: Callable[[Weights], None] = lambda weights: None,
    controls: Sequence[str] = CONTROLS,
    template: str = TEMPLATE,
    tokenizer: Callable[[gguf.GGUFWriter], int] | None = None,
    ctx: int = 256,
) -> None:
    """A model of two layers with random weights, which llama.cpp loads; `change` may alter these.

    `tokenizer` writes another one than GPT-2's, and returns its number of tokens.
    """
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(ctx)
    writer.add_embedding_length(EMBEDDING)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(0)
    num_tokens = tokenizer(writer) if tokenizer else _add_tokenizer(writer, pre, controls)
    writer.add_chat_template(template)
    numbers = np.random.default_rng(0)
    kv = EMBEDDING // HEADS * KV_HEADS
    shapes = {"token_embd.weight": (num_tokens, EMBEDDING), "output_norm.weight": (EMBEDDING,)}
    for layer in range(LAYERS):
        of_layer = {
            "attn_norm.weight": (EMBEDDING,),
            "attn_q.weight": (EMBEDDING, EMBEDDING),
            "attn_q.bias": (EMBEDDING,),
            "attn_k.weight": (kv, EMBEDDING),
            "attn_k.bias": (kv,),
            "attn_v.weight": (kv, EMBEDDING),
            "attn_v.bias": (kv,),
            "attn_output.weight": (EMBEDDING, EMBEDDING),
            "ffn_norm.weight": (EMBEDDING,),
            "ffn_gate.weight": (FEED_FORWARD, EMBEDDING),
            "ffn_up.weight": (FEED_FORWARD, EMBEDDING),
            "ffn_down.weight": (EMBEDDING, FEED_FORWARD),
        }
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in of_layer.items()}
    weights = {name: numbers.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    change(weights)
    for name, values in weights.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, pre: str, controls: Sequence[str]) -> int:
    tokens = [*byte_tokens(), "ab", "abc", *controls]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (len(tokens) - len(controls)) + [3] * len(controls))
    writer.add_token_merges(["a b", "ab c"])
    writer.add_bos_token_id(len(tokens) - len(controls))
    writer.add_eos_token_id(len(tokens) - 1)
    return len(tokens)


def byte_tokens() -> list[str]:
    """GPT-2's characters for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def byte_char(byte: int) -> str:
    """GPT-2's character for a byte."""
    if byte in (*range(33, 127), *range(161, 173), *range(174, 256)):
        return chr(byte)
    others = [b for b in range(256) if not (33 <= b < 127 or 161 <= b < 173 or 174 <= b)]
    return chr(256 + others.index(byte))


class Spans:
    """Where the numbers of a sound header lie, and where it ends.

    Attributes:
        fields: counts, lengths, types, dimensions, offsets.
        values: of metadata.
        elements: of arrays, or the lengths of their texts.
        tensors: the dimensions, type and offset of each.
        keys: the number of metadata entries, which end at `entries_end`.
    """

    def __init__(self, data: bytes) -> None:
        self.tensors: list[tuple[list[Span], Span, Span]] = []
        self.fields: list[Span] = []
        self.values: list[Span] = []
        self.elements: list[Span] = []
        self._data, self._at = data, 4
        self._number(4, self.fields)
        tensors, keys = self._number(8, self.fields), self._number(8, self.fields)
        self.keys = self.fields[-1]
        for _ in range(keys):
            self._entry()
        self.entries_end = self._at
        for _ in range(tensors):
            self._value(STRING, self.fields)
            begin = len(self.fields) + 1
            for width in (8,) * self._number(4, self.fields) + (4, 8):
                self._number(width, self.fields)
            *dims, kind, offset = self.fields[begin:]
            self.tensors.append((dims, kind, offset))
        self.end = self._at

    def _entry(self) -> None:
        self._value(STRING, self.fields)
        kind = self._number(4, self.fields)
        if kind != ARRAY:
            self._value(kind, self.values)
            return
        kind = self._number(4, self.fields)
        for _ in range(self._number(8, self.fields)):
            self._value(kind, self.elements)

    def _value(self, kind: int, spans: list[Span]) -> None:
        length = self._number(8 if kind == STRING else SIZES[kind], spans)
        if kind == STRING:
            self._at += length

    def _number(self, width: int, spans: list[Span]) -> int:
        spans.append((self._at, width))
        self._at += width
        number: int = struct.unpack_from(FORMS[width], self._data, self._at - width)[0]
        return number


HOT = (
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "attention.sliding_window", "attention.causal", "attention.scale", "attention.layer_norm_epsilon",
    "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor", "rope.dimension_sections",
    "rope.scaling.original_context_length", "rope.freq_base", "expert_count", "expert_used_count",
    "expert_group_count", "expert_group_used_count", "nextn_predict_layers", "pooling_type", "vocab_size",
    "embedding_length_out", "feed_forward_length", "block_count", "classifier.output_labels",
)  # fmt: skip
"""Keys of an architecture that llama.cpp reads for every one."""

GENERAL = (
    "general.alignment", "general.architecture", "general.name", "general.file_type", "split.count", "split.no",
    "split.tensors.count", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
    "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.merges",
    "tokenizer.ggml.token_type_count", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.suppress_tokens",
    "tokenizer.ggml.precompiled_charsmap", "tokenizer.chat_template", "adapter.type",
)  # fmt: skip

TEXTS = (
    b"",
    b"yarn",
    b"longrope",
    b"none",
    b"llama",
    b"gpt2",
    b"bert",
    b"t5",
    b"rwkv",
    b"no_vocab",
    b"\0",
    b"\xff" * 9,
)


class Mutator:
    """Broken copies of a file, the same ones for the same seed."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._spans, self._random = Spans(data), random.Random(seed)
        self._header, self._rest = data[: self._spans.end], data[self._spans.end :]

    def __call__(self) -> bytes:
        header = bytearray(self._header)
        rest = self._rest
        # What goes by the places of fields comes before what moves them.
        if self._random.random() < 0.2:
            rest += self._retype(header)
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 3))):
            self._random.choice((self._flip, self._number, self._number, self._copy))(header)
        if self._random.random() < 0.2:
            self._insert(header)
        elif self._random.random() < 0.1:
            self._splice(header)
        if self._random.random() < 0.03:
            rest = rest[: self._random.randrange(len(rest))]
        if self._random.random() < 0.03:
            return bytes(header[: self._random.randrange(len(header))])
        return bytes(header) + rest

    def _span(self) -> Span:
        """A field as often as a value, and as an element."""
        spans = self._random.choice((self._spans.fields, self._spans.values, self._spans.elements))
        return self._random.choice(spans)

    def _flip(self, header: bytearray) -> None:
        header[self._random.randrange(len(header))] ^= 1 << self._random.randrange(8)

    def _number(self, header: bytearray) -> None:
        """A field gets an edge of its type, something near to what it was, or anything."""
        at, width = self._span()
        header[at : at + width] = self._edge(width, struct.unpack_from(FORMS[width], self._header, at)[0])

    def _edge(self, width: int, old: int = 0) -> bytes:
        top = 1 << 8 * width
        edges = (0, 1, 2, 3, 7, 31, 63, 255, top // 2 - 1, top // 2, top - 1, top - 32)
        near = (old + 1, old - 1, old * 2, old // 2, old ^ 1 << self._random.randrange(8 * width))
        new = self._random.choice((*edges, *near, self._random.randrange(top)))
        return struct.pack(FORMS[width], new % top)

    def _copy(self, header: bytearray) -> None:
        """A field gets another's value."""
        (at, width), (other, _) = self._span(), self._span()
        header[at : at + width] = self._header[other : other + width]

    def _splice(self, header: bytearray) -> None:
        """Bytes are cut out, or those of another place put in."""
        at, other = self._span()[0], self._span()[0]
        n = self._random.choice((1, 4, 8, self._random.randrange(64)))
        replacement = self._random.choice((b"", self._header[other : other + n]))
        header[at : at + self._random.choice((0, n))] = replacement

    def _insert(self, header: bytearray) -> None:
        """One more entry of metadata, with a key that llama.cpp reads."""
        at, width = self._spans.keys
        count = struct.unpack_from(FORMS[width], self._header, at)[0]
        header[at : at + width] = struct.pack(FORMS[width], count + 1)
        architecture = self._random.choice(("qwen2.", "llama."))
        hot = [architecture + key for key in HOT]
        key = self._random.choice((*hot, *GENERAL)).encode()
        entry = struct.pack("<Q", len(key)) + key + self._typed()
        header[self._spans.entries_end : self._spans.entries_end] = entry

    def _typed(self) -> bytes:
        """A type and a value: mostly of the types that llama.cpp expects."""
        kind = self._random.choice((4, 4, 4, 5, 6, 7, STRING, ARRAY, *SIZES))
        if kind != ARRAY:
            return struct.pack("<I", kind) + self._scalar(kind)
        kind = self._random.choice((4, 5, 6, 7, STRING))
        n = self._random.choice((0, 1, 2, 4, 5, 6, 260))
        return struct.pack("<IIQ", ARRAY, kind, n) + b"".join(self._scalar(kind) for _ in range(n))

    def _scalar(self, kind: int) -> bytes:
        if kind != STRING:
            return self._edge(SIZES[kind])
        text = self._random.choice(TEXTS)
        return struct.pack("<Q", len(text)) + text

    def _retype(self, header: bytearray) -> bytes:
        """A tensor of another type or shape, the others moved to where they belong; zeros for the longer file."""
        dims, kind, _ = self._random.choice(self._spans.tensors)
        if self._random.random() < 0.8:
            header[kind[0] : kind[0] + 4] = struct.pack("<I", self._random.choice(list(TYPES)))
        if self._random.random() < 0.3:
            at = self._random.choice(dims)[0]
            old = struct.unpack_from("<Q", header, at)[0]
            new = self._random.choice((old * 2, old + 1, old // 2, 256))
            header[at : at + 8] = struct.pack("<Q", new)
        end = 0
        for dims, kind, (at, _) in self._spans.tensors:
            header[at : at + 8] = struct.pack("<Q", end)
            block, nbytes = TYPES[struct.unpack_from("<I", header, kind[0])[0]]
            elements = math.prod(struct.unpack_from("<Q", header, dim[0])[0] for dim in dims)
            end += -(-(elements // block * nbytes) // 32) * 32
        return bytes(max(0, end - len(self._rest) + 64))
