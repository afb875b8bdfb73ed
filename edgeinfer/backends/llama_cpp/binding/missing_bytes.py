"""The bytes that a vocabulary made by merging pairs (BPE) cannot write: llama.cpp leaves them out without a word."""

from __future__ import annotations

from collections.abc import Iterable

from edgeinfer.errors import InvalidRequest

SPELLED = "<0x00>"
"""A token of vocabularies that have tokens for bytes beside their characters."""

MAX_NAMED = 5
"""Characters that an error names."""


def missing_bytes(tokens: Iterable[str]) -> frozenset[int]:
    """The bytes that no token of the vocabulary stands for alone; none, if it does not have GPT-2's alphabet."""
    alphabet = {char: byte for byte, char in enumerate(_alphabet())}
    found = set[int]()
    for token in tokens:
        if token in alphabet:
            found.add(alphabet[token])
        elif token == SPELLED:  # its characters stand for themselves
            return frozenset()
    # The alphabet's own character for the space shows that it is in use.
    return frozenset(range(256)) - found if ord(" ") in found else frozenset()


def check_lost(text: str, written: bytes, missing: frozenset[int]) -> None:
    """Raises InvalidRequest, with the characters, if `written`, which tokens stand for, lacks a part of the text."""
    data = text.encode("utf-8", "surrogatepass")
    lost = {byte for byte in missing if data.count(byte) > written.count(byte)}
    if not lost:
        return
    having = [c for c in dict.fromkeys(text) if lost.intersection(c.encode("utf-8", "surrogatepass"))]
    named = ", ".join(f"{c!r}" for c in having[:MAX_NAMED])
    raise InvalidRequest(
        f"this model has no tokens for a part of the text: {named}{', …' if len(having) > MAX_NAMED else ''}",
        hint="leave these characters out, or use another model",
    )


def _alphabet() -> list[str]:
    """GPT-2's character for each byte: itself if it can be seen, else the next one from 256 on."""
    seen = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in seen else next(others)) for byte in range(256)]
