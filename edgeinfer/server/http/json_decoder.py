"""Decodes JSON from clients: its size in memory is bounded before anything is built, and nothing in it is lost."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.quoting import dotted, quoted, shortened

MAX_DEPTH = 128
"""Maximum nesting of lists and objects: later code may recurse into them."""

MAX_CONTAINERS = 65_536
"""Lists and objects in one request. `[],` is three bytes of text, and takes 72 in memory."""

MAX_STRINGS = 131_072
"""Strings in one request, keys included."""

MAX_VALUES = 524_288
"""Values in one request. Most of so many can only be the numbers of tokens."""

MAX_DIGITS = 64
"""Successive digits of a number: to read many takes more than linear time."""

MIN_INT, MAX_INT = -(2**63), 2**64 - 1
"""What other processes can be sent."""

TOO_DEEP = f"the JSON is nested more than {MAX_DEPTH} deep"

BOM = b"\xef\xbb\xbf"

_SURROGATE = re.compile("[\ud800-\udfff]")

_SAME_DIGIT = bytes.maketrans(b"123456789", b"000000000")


class JsonDecoder:
    """Decodes all JSON of one request: its body, and texts in it that are JSON themselves share the limits."""

    def __init__(self) -> None:
        self._containers = self._strings = self._values = 0

    def decode(self, text: bytes) -> Any:
        """The value of a document.

        Raises:
            InvalidRequest: it is not JSON, exceeds a limit, or an object in it has a key twice.
        """
        text = text.removeprefix(BOM)
        members = self._count(text)
        try:
            value = msgspec.json.decode(text)
        except RecursionError:
            raise InvalidRequest(TOO_DEEP) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise _malformed(text, str(e)) from None
        if _walk(value) != members:
            raise _duplicate(text)
        return value

    def _count(self, text: bytes) -> int:
        """Count what the text describes, without decoding it; -> the number of members that its objects have."""
        # Without its escapes, every quote of a document begins or ends a string.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        self._strings += text.count(b'"') // 2
        _check("strings", self._strings, MAX_STRINGS)
        structure = b"".join(text.split(b'"')[::2])
        self._containers += structure.count(b"[") + structure.count(b"{")
        _check("lists and objects", self._containers, MAX_CONTAINERS)
        self._values += structure.count(b",") + 1
        _check("values", self._values, MAX_VALUES)
        if b"0" * (MAX_DIGITS + 1) in structure.translate(_SAME_DIGIT):
            raise InvalidRequest(f"a number has more than {MAX_DIGITS} digits")
        return structure.count(b":")


def _malformed(text: bytes, told: str) -> InvalidRequest:
    """The error for a document that cannot be decoded."""
    if (
        "truncated" in told or "surrogate" in told
    ):  # both may be said of half a surrogate pair, which Python takes
        with contextlib.suppress(ValueError, RecursionError):
            path, half = next(_half_characters(json.loads(text), ()))
            param = dotted(path)
            return InvalidRequest(
                f"{param or 'the body'} has half of a character ({ascii(half)[1:-1]}, a surrogate without its pair)",
                param=param or None,
                hint="cut texts between characters, or leave the half out",
            )
    return InvalidRequest(f"the body is not valid JSON: {_problem(text, told)}")


def _half_characters(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str) and (half := _SURROGATE.search(value)):
        yield path, half[0]
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str) and (half := _SURROGATE.search(key)):
                yield path, half[0]
            yield from _half_characters(item, (*path, key))


def _problem(text: bytes, told: str) -> str:
    """Say what is wrong with a document, where the library's own words would mislead."""
    if not text.strip():
        return "it is empty"
    try:
        text.decode()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    if "out of range" in told:
        return "a number is out of range"
    if "truncated" in told or "surrogate" in told:
        return "it ends too early"
    return told.removeprefix("JSON is malformed: ")


def _check(kind: str, count: int, limit: int) -> None:
    if count > limit:
        raise InvalidRequest(f"the JSON has more than {limit:,} {kind}", hint="send it in several requests")


def _walk(value: Any) -> int:
    """Check depth and numbers; -> the number of members that all objects have together."""
    members = 0
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            if isinstance(container, dict):
                members += len(container)
                container = container.values()
            for item in container:
                kind = type(item)
                if kind is dict or kind is list:
                    below.append(item)
                elif kind is int and not MIN_INT <= item <= MAX_INT:
                    raise _too_large(value)
        if not below:
            return members
        level = below
    raise InvalidRequest(TOO_DEEP)


def has_more_values(value: Any, limit: int) -> bool:
    """True if `value`, which is decoded JSON, holds more than `limit` values."""
    count, pending = 0, [value]
    while pending:
        container = pending.pop()
        count += len(container)
        if count > limit:
            return True
        items = container.values() if isinstance(container, dict) else container
        pending += [item for item in items if isinstance(item, dict | list)]
    return False


def _too_large(value: Any) -> InvalidRequest:
    """The error for a value with a number in it that is too large; it names the place."""
    path, number = next(_large_numbers(value, ()))
    param = dotted(path)
    return InvalidRequest(
        f"{param or 'the body'} has the number {quoted(number)}, which is too large", param=param or None
    )


def _large_numbers(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _large_numbers(item, (*path, key))


def _duplicate(text: bytes) -> InvalidRequest:
    """The error for a document in which an object has a key twice."""

    def check(pairs: list[tuple[str, Any]]) -> None:
        keys = set[str]()
        for key, _ in pairs:
            if key in keys:
                message = f"the key {quoted(key)} stands twice in one object, and only one could count"
                raise InvalidRequest(message, param=shortened(key))
            keys.add(key)

    try:
        json.loads(text, object_pairs_hook=check)
    except InvalidRequest as e:
        return e
    raise AssertionError("no key stands twice")
