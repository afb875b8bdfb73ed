"""Checks what llama.cpp takes for granted in a tokenizer and in embeddings: where it is wrong, requests end the process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeinfer.gguf.charsmap import CHARSMAP, check_charsmap
from edgeinfer.gguf.reader import HeaderReader, Value

TOKENS = "tokenizer.ggml.tokens"

MAX_TEXT_BYTE = 0xF4
"""The largest byte in UTF-8; 0xC0 and 0xC1 do not occur either."""

TEXT_BYTES = [byte for byte in range(MAX_TEXT_BYTE + 1) if byte not in (0xC0, 0xC1)]

RWKV_ESCAPES = {0x09: b"\\t", 0x0A: b"\\n", 0x0D: b"\\r"}

TOKEN_TYPES = "tokenizer.ggml.token_type"
BYTE_TYPE = 6

PER_TOKEN = ("tokenizer.ggml.scores", TOKEN_TYPES)

SCORED = ("llama", "t5")
"""Tokenizers that choose between tokens by their scores."""

UNKNOWN: Mapping[Value | None, int] = {"bert": 100, "t5": 2}
"""Tokenizers that need a token for what they do not know, and the one that llama.cpp takes if the file does not say."""

ENDS = ("bos", "eos", "eot", "eom")
"""Tokens without which a model does not know where to begin or end."""

NO_TOKEN = 0xFFFFFFFF
"""A way to say that there is no such token."""

MAX_WORD_PIECE = 512
"""Bytes; the tokenizer of BERT tries all lengths up to the longest token's at each place of a text."""

POOLINGS = range(5)


def check_tokenizer(metadata: Mapping[str, Value], lengths: Mapping[str, int], reader: HeaderReader) -> None:
    """Raise ValueError for a tokenizer that would crash, run for ever, or lose what is said to it."""
    model, count = metadata.get("tokenizer.ggml.model"), lengths.get(TOKENS, 0)
    if model in ("no_vocab", "none"):
        raise ValueError("it has no tokenizer")
    if not count:
        return
    if metadata.get("tokenizer.ggml.pre") == "whitespace" != model:
        raise ValueError(f"the tokenizer {model!r} cannot split at white space")
    for key in PER_TOKEN:
        if lengths.get(key, count) < count:
            raise ValueError(f"{key} has {lengths[key]} entries for {count} tokens")
    if model in SCORED and PER_TOKEN[0] not in lengths:
        raise ValueError(f"{PER_TOKEN[0]} is missing")
    for name in ENDS:
        token = metadata.get(key := f"tokenizer.ggml.{name}_token_id", 0)
        if type(token) is not int or not (0 <= token < count or token in (NO_TOKEN, -1)):
            raise ValueError(f"{key} is {str(token)[:20]}, but there are {count} tokens")
    if CHARSMAP in lengths:
        if lengths[CHARSMAP] != len(reader.charsmap):
            raise ValueError(f"{CHARSMAP} has {lengths[CHARSMAP]} elements")
        check_charsmap(reader.charsmap)
    if model in UNKNOWN:
        unknown = metadata.get("tokenizer.ggml.unknown_token_id"), UNKNOWN[model]
        if not any(type(token) is int and 0 <= token < count for token in unknown):
            raise ValueError("its tokenizer has no token for what is unknown")
    if model == "bert" and reader.longest_text > MAX_WORD_PIECE:
        raise ValueError(f"a token of its tokenizer has {reader.longest_text} bytes")
    if model == "bert" and BYTE_TYPE in reader.token_types:
        raise ValueError("its tokenizer has tokens for bytes, unlike any of its kind")
    if model in ("llama", "rwkv"):
        spellings = _rwkv_spellings if model == "rwkv" else _spellings
        missing = next(
            (b for b in TEXT_BYTES if not any(text in reader.short_texts for text in spellings(b))), None
        )
        if missing is not None:
            raise ValueError(f"its tokenizer has no token for the byte 0x{missing:02X}")


def check_embeddings(metadata: Mapping[str, Value], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise ValueError if embeddings would have another size than the file says, or are pooled in an unknown way."""
    architecture = metadata["general.architecture"]
    length = metadata[f"{architecture}.embedding_length"]
    said = metadata.get(f"{architecture}.embedding_length_out", length)
    projection = shapes.get("dense_3.weight") or shapes.get("dense_2.weight")
    actual = projection[-1] if projection else length
    if said != actual:
        raise ValueError(f"its embeddings have {actual} numbers, not {str(said)[:20]} as it says")
    pooling = metadata.get(f"{architecture}.pooling_type", 0)
    if pooling not in POOLINGS:
        raise ValueError(f"{architecture}.pooling_type is {str(pooling)[:20]}")


def _spellings(byte: int) -> tuple[bytes, ...]:
    return b"<0x%02X>" % byte, bytes((byte,))


def _rwkv_spellings(byte: int) -> tuple[bytes, ...]:
    literal = bytes((byte,))
    return literal, b"\\" + literal, b"\\x%02x" % byte, b"\\x%02X" % byte, RWKV_ESCAPES.get(byte, literal)
