"""Rewrites callers' JSON schemas as core schemas, which llguidance enforces.

Callers write schemas in five drafts, with keywords that a grammar has no means for. Everything becomes core
schemas, see `core`: rewritten to an equivalent one; or else to a narrower one, where natural answers remain
possible; or else left out and recorded as unenforced, so that the finished answer is checked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from itertools import count
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.arrays import normalize_arrays
from edgeinfer.grammar.json_schema.combinators import normalize_combinators
from edgeinfer.grammar.json_schema.core import Core
from edgeinfer.grammar.json_schema.keywords import draft_of, effective_keywords, schema_error
from edgeinfer.grammar.json_schema.objects import normalize_objects
from edgeinfer.grammar.json_schema.references import ReferenceIndex
from edgeinfer.grammar.json_schema.scalars import normalize_enum, normalize_numbers, normalize_strings
from edgeinfer.grammar.json_schema.schema_node import SchemaNode

MAX_DEPTH = 100
"""Nested objects and arrays in a schema's JSON; a nested schema takes two."""

MAX_SCHEMAS = 20_000

MIN_SHARED_LENGTH = 100
"""Characters of JSON from which a schema is shared by reference."""

SAME_VALUE_PATH = re.compile(r"(/(allOf|anyOf|oneOf)/\d+|/(not|if|then|else)|/dependentSchemas/[^/]+)*/\$\w+")
"""Path from a schema to a reference that applies to the same value."""

UNKNOWN: Core = {"unknown": True}
"""A core schema about which nothing is known."""


class Normalizer:
    """A caller's schema as core schemas.

    Attributes:
        root: the core schema of the whole.
        definitions: name -> core schema, for each `$ref` to "#/$defs/NAME".
        unenforced: JSON pointers of the keywords that were left out.
        uncheckable: JSON pointers of keywords that a finished answer cannot be checked against.
        has_formats: some string has a format that is enforced.
        same_value_refs: definition -> definitions that it applies to the same value.
    """

    def __init__(
        self,
        schema: Any,
        patterns_overlap: Callable[[list[str]], bool],
        path: str = "",
        enforce_formats: bool = True,
        omitted: Collection[tuple[str, str]] = (),
    ) -> None:
        """Normalize a schema, or the part of it at `path`.

        Args:
            patterns_overlap: tells if two of some patterns match a common text.
            omitted: keywords to leave out, each with the path below which to do so.

        Raises:
            UnsupportedSchema: it is not a JSON schema, or refers to something outside.
            GrammarTooComplex: a limit was exceeded.
        """
        _check_depth(schema)
        self.draft = draft_of(schema)
        self.patterns_overlap = patterns_overlap
        self.enforce_formats = enforce_formats
        self.has_formats = False
        self._omitted = omitted
        self.num_narrowed = 0
        self._references = ReferenceIndex(schema)
        self._names: dict[str, str] = {}  # path -> definition
        self._pending: dict[str, tuple[Any, str]] = {}
        self._narrowed: set[str] = set()
        self._inexact: set[str] = set()
        self._unenforced: dict[str, None] = {}
        self._num_schemas = 0
        self._shared_ids = count()
        self._current: tuple[str, str] | None = None  # name and path of the definition being normalized
        self.same_value_refs: dict[str, set[str]] = {}
        self.definitions: dict[str, Core] = {}
        self.uncheckable: list[str] = []
        self.root = self.normalize(self._references.at(path), path)
        while self._pending:
            self._define(next(iter(self._pending)))

    def path_of(self, name: str) -> str:
        """Return the JSON pointer of a definition in the caller's schema."""
        return next((path for path, known in self._names.items() if known == name), "")

    @property
    def unenforced(self) -> tuple[str, ...]:
        return tuple(self._unenforced)

    def normalize(self, raw: Any, path: str) -> Core:
        if isinstance(raw, bool):
            return raw
        if not isinstance(raw, dict):
            raise schema_error(path, "a schema must be an object or a boolean")
        self._num_schemas += 1
        if self._num_schemas > MAX_SCHEMAS:
            raise GrammarTooComplex(f"the schema contains more than {MAX_SCHEMAS} subschemas")
        node = SchemaNode(self, raw, path)
        normalize_enum(node)
        normalize_numbers(node)
        normalize_strings(node)
        normalize_arrays(node)
        normalize_objects(node)
        normalize_combinators(node)
        return node.to_core()

    def locate(self, raw: dict[str, Any], reference: str, path: str) -> tuple[str, Any]:
        """Return the path of the schema that `reference` in `raw` points to, and that schema."""
        return self._references.resolve(raw, reference, path)

    def add_reference(self, raw: dict[str, Any], reference: str, path: str) -> Core:
        """Return a `$ref` to the definition of what `reference` points to, and define it later."""
        target_path, target = self.locate(raw, reference, path)
        name = self._names.get(target_path)
        if name is None:
            name = self._names[target_path] = f"d{len(self._names)}"
            self._pending[name] = (target, target_path)
        if self._current and SAME_VALUE_PATH.fullmatch(path.removeprefix(self._current[1])):
            self.same_value_refs.setdefault(self._current[0], set()).add(name)
        return {"$ref": f"#/$defs/{name}"}

    def share(self, core: Core) -> Core:
        """Return a reference to a schema used in several places; a small schema itself."""
        if isinstance(core, bool) or len(json.dumps(core)) < MIN_SHARED_LENGTH:
            return core
        name = f"s{next(self._shared_ids)}"
        self.definitions[name] = core
        return {"$ref": f"#/$defs/{name}"}

    def resolve(self, reference: str) -> Core:
        """Return the definition that a core schema refers to, in order to reason about it."""
        name = reference.rpartition("/")[2]
        if name in self._pending:
            self._define(name)
        return self.definitions.get(name, UNKNOWN)

    def resolve_not_narrowed(self, reference: str) -> Core:
        """Resolve a reference for conclusions that a narrower schema would not justify."""
        core = self.resolve(reference)
        return UNKNOWN if reference.rpartition("/")[2] in self._narrowed else core

    def resolve_exact(self, reference: str) -> Core:
        """Resolve a reference for conclusions that neither a narrower nor a wider schema would justify."""
        core = self.resolve(reference)
        return UNKNOWN if reference.rpartition("/")[2] in self._inexact else core

    def is_omitted(self, path: str, keyword: str) -> bool:
        """Tell if a keyword is to be left out."""
        return any(keyword == name and f"{path}/".startswith(f"{above}/") for above, name in self._omitted)

    @property
    def num_changes(self) -> int:
        """Count the schemas replaced by narrower or wider ones."""
        return self.num_narrowed + len(self._unenforced)

    def mark_unenforced(self, path: str) -> None:
        self._unenforced[path] = None

    def _define(self, name: str) -> None:
        raw, path = self._pending.pop(name)
        num_narrowed, num_changes, outer = self.num_narrowed, self.num_changes, self._current
        self._current = name, path
        if isinstance(raw, dict):
            self.definitions[name] = outline(effective_keywords(raw, path, self.draft))
        self.definitions[name] = self.normalize(raw, path)
        if self.num_changes > num_changes:
            self._inexact.add(name)
        if self.num_narrowed > num_narrowed:
            self._narrowed.add(name)
        self._current = outer
        self.num_narrowed = (
            num_narrowed  # narrowing counts for this definition, not for those that refer to it
        )


def outline(keywords: dict[str, Any]) -> Core:
    """Return the plain facts about a schema that is still being normalized, for schemas that refer to it."""
    core: dict[str, Any] = {"unknown": True}
    names = keywords.get("type", [])
    if names:
        core["type"] = [names] if isinstance(names, str) else names
    if "required" in keywords:
        core["required"] = keywords["required"]
    properties = keywords.get("properties", {})
    constants = {
        name: {"enum": [schema["const"]]}
        for name, schema in properties.items()
        if schema is not True and "const" in (schema or {})
    }
    if constants:
        core["properties"] = constants
    return core


def _check_depth(schema: Any) -> None:
    stack = [(schema, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise GrammarTooComplex(f"the schema is nested more than {MAX_DEPTH} levels deep")
        if isinstance(node, dict | list):
            children = node.values() if isinstance(node, dict) else node
            stack += [(child, depth + 1) for child in children]
