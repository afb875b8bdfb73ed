"""Tokenizers and embeddings that llama.cpp would load, and crash with at some request."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgeinfer.errors import ModelLoadFailed
from edgeinfer.gguf.header import Header, read_header
from tests.support.gguf_bytes import ARRAY, FLOAT32, STRING, UINT32, count, entry, model, tensor, text

BYTE, UINT8 = 6, 0
HEX = [b"<0x%02X>" % byte for byte in range(256)]
ESCAPED = [b"\\x%02x" % byte for byte in range(256)]


def texts(values: list[bytes]) -> bytes:
    data = struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))
    return entry("tokenizer.ggml.tokens", ARRAY, data)


def scores(number: int) -> bytes:
    data = struct.pack(f"<IQ{number}f", FLOAT32, number, *[0.0] * number)
    return entry("tokenizer.ggml.scores", ARRAY, data)


def types(number: int, type: int = 1) -> bytes:
    data = struct.pack(f"<IQ{number}I", UINT32, number, *[type] * number)
    return entry("tokenizer.ggml.token_type", ARRAY, data)


def kind(name: str) -> bytes:
    return entry("tokenizer.ggml.model", STRING, text(name))


def read(path: Path, *entries: bytes, tensors: tuple[bytes, ...] = (tensor(),)) -> Header:
    path.write_bytes(model(*tensors, entries=entries, data=1 << 16))
    return read_header(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("byte", [0x00, 0x61, 0x80, 0xF0, 0xF4])
@pytest.mark.parametrize(("name", "spelled"), [("llama", HEX), ("rwkv", ESCAPED)])
def test_a_tokenizer_without_a_byte_is_refused(
    name: str, spelled: list[bytes], byte: int, file: Path
) -> None:
    """SentencePiece's ends the process at a text with that byte, and RWKV's never ends."""
    tokens = [b"<unk>", *spelled[:byte], *spelled[byte + 1 :]]
    with pytest.raises(ModelLoadFailed, match=f"no token for the byte 0x{byte:02X}"):
        read(file, kind(name), texts(tokens), scores(len(tokens)))


@pytest.mark.parametrize("byte", [0xC0, 0xC1, 0xF5, 0xFF])
def test_bytes_that_no_text_has_may_be_missing(byte: int, file: Path) -> None:
    tokens = HEX[:byte] + HEX[byte + 1 :]
    assert read(file, kind("llama"), texts(tokens), scores(255)).vocabulary == 255


def test_a_byte_may_be_spelled_as_a_character(file: Path) -> None:
    for name, spelled in (("llama", HEX), ("rwkv", ESCAPED)):
        tokens = [bytes((byte,)) if 32 <= byte < 127 and byte != 92 else spelled[byte] for byte in range(256)]
        assert read(file, kind(name), texts(tokens), scores(256)).vocabulary == 256


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ((kind("no_vocab"),), "no tokenizer"),
        ((kind("none"), texts(HEX)), "no tokenizer"),
        ((kind("llama"), texts(HEX)), "scores is missing"),
        ((kind("t5"), texts(HEX)), "scores is missing"),
        ((kind("llama"), texts(HEX), scores(255)), "scores has 255 entries for 256 tokens"),
        ((kind("gpt2"), texts(HEX), types(3)), "token_type has 3 entries for 256 tokens"),
        ((kind("gpt2"), texts(HEX), count("tokenizer.ggml.eos_token_id", 256)), "eos_token_id is 256"),
        (
            (kind("gpt2"), texts(HEX), count("tokenizer.ggml.bos_token_id", 1 << 31)),
            "bos_token_id is 2147483648",
        ),
        (
            (kind("gpt2"), texts(HEX), entry("tokenizer.ggml.eot_token_id", STRING, text("x"))),
            "eot_token_id is x",
        ),
        ((kind("bert"), texts([*HEX, b"x" * 3000])), "a token of its tokenizer has 3000 bytes"),
        ((kind("bert"), texts(HEX), types(256, BYTE)), "tokens for bytes"),
        ((kind("bert"), texts(HEX[:100])), "no token for what is unknown"),
        ((kind("t5"), texts(HEX[:2]), scores(2)), "no token for what is unknown"),
        (
            (kind("t5"), texts(HEX[:2]), scores(2), count("tokenizer.ggml.unknown_token_id", 2)),
            "what is unknown",
        ),
        (
            (kind("gpt2"), entry("tokenizer.ggml.pre", STRING, text("whitespace")), texts(HEX)),
            "cannot split at white space",
        ),
    ],
)
def test_a_tokenizer_that_cannot_work_is_refused(
    entries: tuple[bytes, ...], problem: str, file: Path
) -> None:
    with pytest.raises(ModelLoadFailed, match=problem):
        read(file, *entries)


def test_a_token_may_be_said_not_to_exist(file: Path) -> None:
    """Some files say so with -1."""
    assert read(file, kind("gpt2"), texts(HEX), count("tokenizer.ggml.eos_token_id", 0xFFFFFFFF)).vocabulary


def charsmap(data: bytes) -> bytes:
    return entry("tokenizer.ggml.precompiled_charsmap", ARRAY, struct.pack("<IQ", UINT8, len(data)) + data)


def table(nodes: dict[int, int], replacements: bytes = b"x\0", count: int = 512) -> bytes:
    """A double array of so many nodes, and replacements."""
    return struct.pack(f"<I{count}I", 4 * count, *(nodes.get(i, 0) for i in range(count))) + replacements


def node(base: int, byte: int = 0, leaf: bool = False) -> int:
    return base << 10 | leaf << 8 | byte


VALUE = 1 << 31


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (table({0: node(512)}), "leads outside"),  # its root
        (table({0: node(256), 353: node(1 << 10, 97)}), "leads outside"),  # the node after an "a"
        (
            table({0: node(256), 353: node(353 ^ 7, 97, leaf=True), 7: VALUE | 2}),
            "leads outside",
        ),  # a replacement
        (table({}, b"x"), "cut off"),
        (table({}, b""), "cut off"),
        (table({})[:100], "cut off"),
        (b"\0\0\0\0x\0", "cut off"),
    ],
)
def test_a_table_of_characters_that_leads_outside_is_refused(data: bytes, problem: str, file: Path) -> None:
    """llama.cpp throws at the text that gets there, through C, which ends the process."""
    tokenizer = kind("t5"), texts(HEX), scores(256)
    read(file, *tokenizer, charsmap(table({0: node(256), 353: node(353 ^ 7, 97, leaf=True), 7: VALUE | 1})))
    with pytest.raises(ModelLoadFailed, match=problem):
        read(file, *tokenizer, charsmap(data))


@pytest.mark.parametrize("length", [1, 63, 65, 128, 1 << 20])
def test_embeddings_of_a_wrong_length_are_refused(length: int, file: Path) -> None:
    """llama.cpp would read as many numbers as the file says, wherever they are."""
    with pytest.raises(ModelLoadFailed, match=f"its embeddings have 64 numbers, not {length} as it says"):
        read(file, count("a.embedding_length_out", length))


def test_a_projection_decides_on_the_length_of_embeddings(file: Path) -> None:
    """As in ColBERT models; one that the file does not mention is as wrong as the contrary."""
    projection = tensor("dense_2.weight", (64, 32))
    read(file, count("a.embedding_length_out", 32), tensors=(projection,))
    read(file, count("a.embedding_length_out", 64))
    for entries in ((), (count("a.embedding_length_out", 64),)):
        with pytest.raises(ModelLoadFailed, match="its embeddings have 32 numbers, not 64 as it says"):
            read(file, *entries, tensors=(projection,))


def test_an_unknown_pooling_is_refused(file: Path) -> None:
    read(file, count("a.pooling_type", 3))
    with pytest.raises(ModelLoadFailed, match="pooling_type is 5"):
        read(file, count("a.pooling_type", 5))
