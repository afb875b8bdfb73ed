"""The vocabulary of a tokenizer.json: the bytes that each token stands for."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from edgeinfer.errors import ModelLoadFailed

MAX_TOKENS = 1 << 20

BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")
"""A token that stands for one byte, in the vocabularies of SentencePiece."""

SPACE = "▁"
"""SentencePiece's letter for a space."""


class _AddedToken(msgspec.Struct):
    id: int
    content: str
    special: bool = False


class _Model(msgspec.Struct):
    """The part of a tokenizer's model that is used here: BPE has a table, Unigram a list of tokens with scores."""

    vocab: dict[str, int] | list[tuple[str, float]] = {}


class _TokenizerFile(msgspec.Struct):
    model: _Model
    added_tokens: list[_AddedToken] = []
    pre_tokenizer: Any = None
    decoder: Any = None
    post_processor: Any = None


class Vocabulary(msgspec.Struct, frozen=True):
    """A tokenizer's tokens.

    Attributes:
        pieces: the bytes of each token, by id; b"" where an id has none.
        added: ids of the tokens that are found in texts as they are, by their text; "special" ones and others.
        special: those of them that are not shown in texts.
        bos: the token that the tokenizer itself puts before a text; None if it does not.
    """

    pieces: list[bytes]
    added: dict[str, int]
    special: frozenset[str]
    bos: str | None = None

    def text(self, tokens: list[int]) -> str:
        """The text of tokens; bytes that are no characters become U+FFFD."""
        return b"".join(self.piece(token) for token in tokens).decode("utf-8", "replace")

    def piece(self, token: int) -> bytes:
        return self.pieces[token] if 0 <= token < len(self.pieces) else b""


def parse_vocabulary(data: bytes) -> Vocabulary:
    """Read the vocabulary of a tokenizer.json. Raises ModelLoadFailed."""
    try:
        file = msgspec.json.decode(data, type=_TokenizerFile)
    except (ValueError, RecursionError) as e:
        raise _broken(str(e)) from e
    vocab = file.model.vocab
    tokens = vocab if isinstance(vocab, dict) else {token: at for at, (token, _) in enumerate(vocab)}
    highest = max([*tokens.values(), *(added.id for added in file.added_tokens)], default=-1)
    lowest = min([*tokens.values(), *(added.id for added in file.added_tokens)], default=0)
    if not 0 <= highest < MAX_TOKENS or lowest < 0:
        raise _broken(f"its tokens have the numbers {lowest} to {highest}")
    pieces = [b""] * (highest + 1)
    byte_level = is_byte_level({"decoder": file.decoder, "pre_tokenizer": file.pre_tokenizer})
    letters = {letter: byte for byte, letter in enumerate(_byte_letters())}
    for token, id in tokens.items():
        pieces[id] = _level_bytes(token, letters) if byte_level else _sentencepiece_bytes(token)
    for added in file.added_tokens:
        pieces[added.id] = added.content.encode("utf-8", "replace")
    return Vocabulary(
        pieces,
        {added.content: added.id for added in file.added_tokens if added.content},
        frozenset(added.content for added in file.added_tokens if added.special),
        _leading_token(file.post_processor),
    )


def is_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Tell whether a tokenizer.json writes bytes as letters, as GPT-2 and its heirs do."""
    return any(_mentions(tokenizer.get(part), "ByteLevel") for part in ("decoder", "pre_tokenizer"))


def byte_level_text(text: str) -> str:
    """How such a vocabulary writes a text."""
    letters = _byte_letters()
    return "".join(letters[byte] for byte in text.encode())


def _level_bytes(token: str, letters: dict[str, int]) -> bytes:
    """The bytes of a byte-level token, in which a letter stands for each."""
    try:
        return bytes(letters[letter] for letter in token)
    except KeyError:
        return token.encode("utf-8", "replace")


def _sentencepiece_bytes(token: str) -> bytes:
    if match := BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(SPACE, " ").encode("utf-8", "replace")


def _byte_letters() -> list[str]:
    """The letter for each byte, as GPT-2 chose them: printable ones stand for themselves."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def _mentions(part: Any, kind: str) -> bool:
    """Tell whether a pre-tokenizer or decoder is of a kind, or a sequence that has one."""
    if not isinstance(part, dict):
        return False
    inner = [*_list(part.get("pretokenizers")), *_list(part.get("decoders"))]
    return part.get("type") == kind or any(isinstance(p, dict) and p.get("type") == kind for p in inner)


def _leading_token(processor: Any) -> str | None:
    """The token that a post-processor puts before a single text."""
    if not isinstance(processor, dict):
        return None
    for part in (processor, *_list(processor.get("processors"))):
        if isinstance(part, dict) and part.get("type") == "TemplateProcessing":
            first = next(iter(_list(part.get("single"))), None)
            token = first.get("SpecialToken") if isinstance(first, dict) else None
            if isinstance(token, dict) and isinstance(token.get("id"), str):
                return str(token["id"])
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _broken(problem: str) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"tokenizer.json is not usable: {problem[:300]}",
        param="model",
        hint="get the model from another source",
    )
