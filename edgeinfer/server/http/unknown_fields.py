"""Finds the fields of a request that nobody here knows: they are ignored and named, unless one looks mistyped."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.quoting import MAX_KEY, MAX_QUOTED, shortened

MAX_DIFFERENT = 128
"""Names of unknown fields in one request: each is compared with the known ones."""

MAX_NAMED = 16
"""Ignored fields that a response names."""

CUTOFF = 0.85
"""Similarity from which one name is taken for another that was mistyped, and the least ratio of their lengths.

So `models` and `mode`, which other servers know, are not taken for `model`.
"""

MIN_LENGTH = 4
"""Characters that a name must have to be similar to another."""

_INDEX = re.compile(r"\[\d+\]")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+")

Object = dict[str, Any]


class UnknownField(Exception):
    """An unknown field that is refused; `meant` is the known one whose name is similar."""

    def __init__(self, name: str, meant: str | None) -> None:
        super().__init__(name)
        self.name = name
        self.meant = meant


class UnknownFields:
    """Notes those of one request while it is validated.

    Attributes:
        strict: all are refused.
        forgiving: not even a mistyped one is refused.
        count: the fields that were ignored.
        paths: where the first of them are, safe for a header.
    """

    __slots__ = ("_different", "_found", "count", "forgiving", "paths", "strict")

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.forgiving = False
        self.count = 0
        self.paths: list[str] = []
        self._different: set[str] = set()
        self._found: dict[int, tuple[Object, list[str]]] = {}

    def note(self, value: Object, known: frozenset[str], similar: frozenset[str] | None = None) -> None:
        """Note what `value` has besides the `known` fields. A null counts as absent.

        Args:
            similar: the names that a mistyped one is compared with; None: all known ones.

        Raises:
            UnknownField: one of the fields is refused.
            InvalidRequest: there are too many.
        """
        if known.issuperset(value) or id(value) in self._found:
            return
        names = []
        for name in value:
            if name not in known and value[name] is not None:
                self._check(name, known if similar is None else similar)
                names.append(name)
        if names:
            self._found[id(value)] = value, names
            self.count += len(names)

    def _check(self, name: str, similar: frozenset[str]) -> None:
        self._different.add(name)
        if len(self._different) > MAX_DIFFERENT:
            raise InvalidRequest(f"the request has more than {MAX_DIFFERENT} unknown fields")
        meant = None if self.forgiving else near_miss(name, similar)
        if self.strict or meant:
            raise UnknownField(name, meant)

    def locate(self, body: object) -> None:
        """Set `paths`; `body` is the request. Of the items of a list, the first with a field stands for all."""
        alike: dict[str, str] = {}
        for path in self._located(body) if self._found else ():
            alike.setdefault(_INDEX.sub("[]", path), path)
            if len(alike) == MAX_NAMED:
                break
        self.paths = list(alike.values())

    def header(self) -> str:
        """The paths for a header."""
        more = self.count - len(self.paths)
        return ", ".join([*self.paths, *([f"and {more} more"] if more else [])])

    def _located(self, body: object) -> Iterator[str]:
        left = dict(self._found)
        pending: list[tuple[str, object]] = [("", body)]
        while pending and left:
            path, value = pending.pop()
            if isinstance(value, dict):
                _, names = left.pop(id(value), (None, ()))
                yield from (_member(path, name) for name in names)
                children = [(_member(path, name), value[name]) for name in value if _holds(value[name])]
            else:
                items = enumerate(value) if isinstance(value, list) else ()
                children = [(f"{path}[{n}]", item) for n, item in items if _holds(item)]
            pending += reversed(children)
        for _, names in left.values():  # of objects that a validator has replaced
            yield from (_member("", name) for name in names)


def _holds(value: object) -> bool:
    return isinstance(value, dict | list)


def _member(path: str, name: str) -> str:
    """The path of a member in ASCII; a name that is not plain is quoted as JSON."""
    name = shortened(name, MAX_KEY)
    if not _PLAIN.fullmatch(name):
        name = json.dumps(name).replace("\x7f", "\\u007f")
    return f"{path}.{name}" if path else name


def near_miss(name: str, known: frozenset[str]) -> str | None:
    """The known name that `name` was meant to be; None if it resembles none."""
    return _near_miss(name, known) if MIN_LENGTH <= len(name) <= MAX_QUOTED else None


@functools.lru_cache(1024)
def _near_miss(name: str, known: frozenset[str]) -> str | None:
    plain, length = _plain(name), len(_plain(name))
    others = _by_plain(known)
    alike = [other for other in others if CUTOFF * length <= len(other) <= length / CUTOFF]
    close = difflib.get_close_matches(plain, alike, n=1, cutoff=CUTOFF)
    return others[close[0]] if close else None


@functools.lru_cache(256)
def _by_plain(known: frozenset[str]) -> dict[str, str]:
    return {_plain(name): name for name in sorted(known)}


def _plain(name: str) -> str:
    """A name without what tells `max_tokens`, `maxTokens` and `max-tokens` apart."""
    return name.replace("_", "").replace("-", "").lower()
