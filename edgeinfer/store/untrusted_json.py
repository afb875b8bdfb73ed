"""Decodes JSON from files and clients that are not trusted."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


def decode_json(data: bytes, kind: type[T]) -> T:
    """Decode JSON as `kind`.

    Raises:
        ValueError: it is not JSON, or not of that kind.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as e:
        raise ValueError(str(e)) from e
