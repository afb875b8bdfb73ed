"""JSON schemas to what llguidance enforces of them.

Callers' schemas come in five drafts and with keywords that a grammar has no means for. All is reduced to core
schemas, see `core`: rewritten to what means the same; or else to what is narrower, where a natural answer is
still possible; or else left out, with its place noted, for the finished answer to be checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.arrays import arrays
from edgeinfer.grammar.json_schema.combinators import logic
from edgeinfer.grammar.json_schema.core import Core
from edgeinfer.grammar.json_schema.keywords import draft_of, in_force, invalid
from edgeinfer.grammar.json_schema.objects import objects
from edgeinfer.grammar.json_schema.references import References
from edgeinfer.grammar.json_schema.scalars import enumeration, numbers, strings
from edgeinfer.grammar.json_schema.schema_node import Place

MAX_DEPTH = 100
"""Of nested objects and arrays in a schema's JSON; nested schemas take two each."""

MAX_SCHEMAS = 20_000

MIN_SHARED = 100
"""Characters of what is worth a reference."""

IN_PLACE = re.compile(r"(/(allOf|anyOf|oneOf)/\d+|/(not|if|then|else)|/dependentSchemas/[^/]+)*/\$\w+")
"""The way from a schema to a reference that is about the same value."""

UNKNOWN: Core = {"unknown": True}
"""A core schema of which nothing can be said."""


class Reduction:
    """A schema's core schema, and those it refers to.

    Attributes:
        formatted: a string must have a format.
        uncheckable: JSON pointers of what a finished answer cannot be checked for.
        in_place: definition -> those that it refers to for the same value.
        root, definitions: `$ref` in them is "#/$defs/" and a name in `definitions`.
        unenforced: JSON pointers of what was left out.
    """

    def __init__(
        self,
        schema: Any,
        overlap: Callable[[list[str]], bool],
        at: str = "",
        formats: bool = True,
        without: Collection[tuple[str, str]] = (),
    ) -> None:
        """All of a schema, or what stands at a pointer.

        `overlap` tells whether two of some patterns match a common text; `without` is pointers and the keywords
        to be left out below them.

        Raises:
            UnsupportedSchema: it is no JSON schema, or refers to elsewhere.
            GrammarTooComplex: a limit was exceeded.
        """
        _measure(schema)
        self.draft = draft_of(schema)
        self.overlap = overlap
        self.formats = formats
        self.formatted = False
        self._without = without
        self.strengthened = 0
        self._references = References(schema)
        self._names: dict[str, str] = {}
        self._todo: dict[str, tuple[Any, str]] = {}
        self._narrow: set[str] = set()
        self._inexact: set[str] = set()
        self._left: dict[str, None] = {}
        self._schemas = 0
        self._shared = count()
        self._definition: tuple[str, str] | None = None  # the one being reduced, and where it stands
        self.in_place: dict[str, set[str]] = {}
        self.definitions: dict[str, Core] = {}
        self.uncheckable: list[str] = []
        self.root = self.reduce(self._references.at(at), at)
        while self._todo:
            self._define(next(iter(self._todo)))

    def pointer(self, name: str) -> str:
        """Where in the schema a definition stands."""
        return next((at for at, known in self._names.items() if known == name), "")

    @property
    def unenforced(self) -> tuple[str, ...]:
        return tuple(self._left)

    def reduce(self, raw: Any, at: str) -> Core:
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, dict):
            raise invalid(at, "a schema must be an object or a boolean")
        self._schemas += 1
        if self._schemas > MAX_SCHEMAS:
            raise GrammarTooComplex(f"the schema consists of more than {MAX_SCHEMAS} schemas")
        place = Place(self, raw, at)
        enumeration(place)
        numbers(place)
        strings(place)
        arrays(place)
        objects(place)
        logic(place)
        return place.core()

    def locate(self, raw: dict[str, Any], reference: str, at: str) -> tuple[str, Any]:
        return self._references.resolve(raw, reference, at)

    def refer(self, raw: dict[str, Any], reference: str, at: str) -> Core:
        there, target = self.locate(raw, reference, at)
        name = self._names.get(there)
        if name is None:
            name = self._names[there] = f"d{len(self._names)}"
            self._todo[name] = (target, there)
        if self._definition and IN_PLACE.fullmatch(at.removeprefix(self._definition[1])):
            self.in_place.setdefault(self._definition[0], set()).add(name)
        return {"$ref": f"#/$defs/{name}"}

    def share(self, core: Core) -> Core:
        """A reference to what stands in several places; small schemas as they are."""
        if isinstance(core, bool) or len(json.dumps(core)) < MIN_SHARED:
            return core
        name = f"s{next(self._shared)}"
        self.definitions[name] = core
        return {"$ref": f"#/$defs/{name}"}

    def resolve(self, reference: str) -> Core:
        """What a reference in a core schema leads to, for reasoning about it."""
        name = reference.rpartition("/")[2]
        if name in self._todo:
            self._define(name)
        return self.definitions.get(name, UNKNOWN)

    def resolve_wide(self, reference: str) -> Core:
        """As `resolve`, for conclusions that do not hold for what is narrower."""
        found = self.resolve(reference)
        return UNKNOWN if reference.rpartition("/")[2] in self._narrow else found

    def resolve_exactly(self, reference: str) -> Core:
        """As `resolve`, for conclusions that hold for neither what is narrower nor what is wider."""
        found = self.resolve(reference)
        return UNKNOWN if reference.rpartition("/")[2] in self._inexact else found

    def omits(self, at: str, keyword: str) -> bool:
        """A keyword is to be left out."""
        return any(keyword == name and f"{at}/".startswith(f"{below}/") for below, name in self._without)

    @property
    def changes(self) -> int:
        """How often something was replaced by what is narrower or wider."""
        return self.strengthened + len(self._left)

    def leave(self, at: str) -> None:
        self._left[at] = None

    def _define(self, name: str) -> None:
        raw, at = self._todo.pop(name)
        strengthened, changes, outer = self.strengthened, self.changes, self._definition
        self._definition = name, at
        if isinstance(raw, dict):
            self.definitions[name] = outline(in_force(raw, at, self.draft))
        self.definitions[name] = self.reduce(raw, at)
        if self.changes > changes:
            self._inexact.add(name)
        if self.strengthened > strengthened:
            self._narrow.add(name)
        self._definition = outer
        self.strengthened = strengthened  # that is this definition's, not of who refers to it


def outline(keywords: dict[str, Any]) -> Core:
    """What is plain about a schema that is being reduced, for the conclusions of those that refer to it."""
    found: dict[str, Any] = {"unknown": True}
    names = keywords.get("type", [])
    if names:
        found["type"] = [names] if isinstance(names, str) else names
    if "required" in keywords:
        found["required"] = keywords["required"]
    properties = keywords.get("properties", {})
    constants = {
        k: {"enum": [one["const"]]}
        for k, one in properties.items()
        if one is not True and "const" in (one or {})
    }
    if constants:
        found["properties"] = constants
    return found


def _measure(schema: Any) -> None:
    todo = [(schema, 0)]
    while todo:
        node, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise GrammarTooComplex(f"the schema nests deeper than {MAX_DEPTH} levels")
        if isinstance(node, dict | list):
            children = node.values() if isinstance(node, dict) else node
            todo += [(child, depth + 1) for child in children]
