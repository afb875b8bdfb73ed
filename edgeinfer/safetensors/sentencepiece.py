"""Writes a tokenizer.json for a folder whose tokenizer is SentencePiece's own file, tokenizer.model.

That is a message of protobuf, of which a few fields are needed:
https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from edgeinfer.errors import ModelLoadFailed

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6
"""Kinds of pieces; the others are ordinary."""

UNIGRAM, BPE = 1, 2

SPACE = "▁"

MAX_PIECES = 1 << 20
MAX_PIECE = 512
"""Bytes of a piece; the longest of real models are runs of spaces and of dashes."""


class VocabularyPiece(msgspec.Struct):
    text: str
    score: float = 0.0
    kind: int = 1


class _Spec(msgspec.Struct):
    """The settings of a trainer and a normalizer, with SentencePiece's own defaults."""

    kind: int = UNIGRAM
    byte_fallback: bool = False
    bos: int = 1
    charsmap: bytes = b""
    adds_space: bool = True
    removes_spaces: bool = True


def tokenizer_json(model: bytes, config: Mapping[str, Any], added: Mapping[str, int]) -> bytes:
    """Return the tokenizer.json of a tokenizer.model.

    Args:
        config: the folder's tokenizer_config.json.
        added: the folder's added_tokens.json.

    Raises:
        ModelLoadFailed: it is not usable.
    """
    try:
        pieces, spec = _read(model)
        if spec.kind not in (UNIGRAM, BPE):
            raise ValueError("it is neither of SentencePiece's kind Unigram nor BPE")
        return msgspec.json.encode(_tokenizer(pieces, spec, config, added))
    except (ValueError, TypeError, AttributeError, IndexError, struct.error) as e:
        raise ModelLoadFailed(
            f"tokenizer.model is not usable: {str(e)[:200]}",
            param="model",
            hint="get the model from another source",
        ) from e


def _tokenizer(
    pieces: list[VocabularyPiece], spec: _Spec, config: Mapping[str, Any], added: Mapping[str, int]
) -> dict[str, Any]:
    unknown = next(at for at, piece in enumerate(pieces) if piece.kind == UNKNOWN)
    special = {
        at: _added(at, piece.text, piece.kind != USER_DEFINED)
        for at, piece in enumerate(pieces)
        if piece.kind in (UNKNOWN, CONTROL, USER_DEFINED)
    }
    special |= {id: _added(id, text, special=True) for text, id in added.items()}
    for id, token in dict(config.get("added_tokens_decoder") or {}).items():
        special[int(id)] = _added(int(id), str(token["content"]), bool(token.get("special")))
    model: dict[str, Any] = {"byte_fallback": spec.byte_fallback}
    if spec.kind == UNIGRAM:
        model |= {"type": "Unigram", "unk_id": unknown, "vocab": [[p.text, p.score] for p in pieces]}
    else:
        model |= {
            "type": "BPE",
            "unk_token": pieces[unknown].text,
            "fuse_unk": True,
            "merges": _merges(pieces),
        }
        model["vocab"] = {piece.text: at for at, piece in enumerate(pieces)}
    bos = pieces[spec.bos].text if 0 <= spec.bos < len(pieces) and config.get("add_bos_token", True) else None
    return {
        "version": "1.0",
        "added_tokens": [special[id] for id in sorted(special)],
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(spec))},
        "pre_tokenizer": None,
        "post_processor": None if bos is None else _leading(bos, spec.bos),
        "decoder": {"type": "Sequence", "decoders": list(_decoders(spec))},
        "model": model,
    }


def _merges(pieces: list[VocabularyPiece]) -> list[tuple[str, str]]:
    """The pairs that become pieces, those of the best piece first, as SentencePiece merges them."""
    scores = {piece.text: piece.score for piece in pieces if piece.kind not in (UNKNOWN, CONTROL, BYTE)}
    pairs = (
        (-score, text[:at], text[at:])
        for text, score in scores.items()
        for at in range(1, len(text))
        if text[:at] in scores and text[at:] in scores
    )
    return [(left, right) for _, left, right in sorted(pairs, key=lambda pair: pair[0])]


def _normalizers(spec: _Spec) -> Iterator[dict[str, Any]]:
    if spec.charsmap:
        text = base64.b64encode(spec.charsmap).decode()
        yield {"type": "Precompiled", "precompiled_charsmap": text}
    if spec.removes_spaces:
        yield {"type": "Strip", "strip_left": True, "strip_right": True}
        yield {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    if spec.adds_space:
        yield {"type": "Prepend", "prepend": SPACE}
    yield {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}


def _decoders(spec: _Spec) -> Iterator[dict[str, Any]]:
    yield {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    yield {"type": "ByteFallback"}
    yield {"type": "Fuse"}
    if spec.adds_space:
        yield {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def _leading(text: str, id: int) -> dict[str, Any]:
    """What puts a token before each text."""
    token, sequence = {"SpecialToken": {"id": text, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [token, sequence],
        "pair": [token, sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {text: {"id": text, "ids": [id], "tokens": [text]}},
    }


def _added(id: int, text: str, special: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": text, **flags, "special": special}


def _read(model: bytes) -> tuple[list[VocabularyPiece], _Spec]:
    pieces, spec = list[VocabularyPiece](), _Spec()
    for field, value in _fields(model):
        if field == 1 and isinstance(value, bytes):
            pieces.append(_piece(value))
            if len(pieces) > MAX_PIECES:
                raise ValueError("it has too many pieces")
        elif field in (2, 3) and isinstance(value, bytes):
            _read_spec(spec, field, value)
    if not any(piece.kind == UNKNOWN for piece in pieces):
        raise ValueError("it has no piece for what is unknown")
    return pieces, spec


def _read_spec(spec: _Spec, part: int, data: bytes) -> None:
    """Read the settings of the trainer, part 2, or of the normalizer, part 3."""
    for field, value in _fields(data):
        match part, field, value:
            case 2, 3, int():
                spec.kind = value
            case 2, 35, int():
                spec.byte_fallback = bool(value)
            case 2, 41, int():
                spec.bos = value if value < 1 << 31 else -1
            case 3, 2, bytes():
                spec.charsmap = value
            case 3, 3, int():
                spec.adds_space = bool(value)
            case 3, 4, int():
                spec.removes_spaces = bool(value)


def _piece(data: bytes) -> VocabularyPiece:
    if len(data) > MAX_PIECE:
        raise ValueError(f"one of its pieces has {len(data)} bytes")
    piece = VocabularyPiece("")
    for field, value in _fields(data):
        match field, value:
            case 1, bytes():
                piece.text = value.decode()
            case 2, float():
                piece.score = value
            case 3, int():
                piece.kind = value
    return piece


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield number and value of each field of a message. Raises ValueError, IndexError, struct.error."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 1:
                at += 8
            case 2:
                size, at = _varint(data, at)
                if size > len(data) - at:
                    raise ValueError("it ends in the middle")
                yield key >> 3, data[at : at + size]
                at += size
            case 5:
                yield key >> 3, float(struct.unpack_from("<f", data, at)[0])
                at += 4
            case kind:
                raise ValueError(f"it has a field of kind {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("it has a number that is too large")
