"""Holds one schema object of the caller's schema while it becomes a core schema."""

from __future__ import annotations

from typing import Any, Protocol

from edgeinfer.grammar.json_schema.core import (
    MAX_REFS,
    Core,
    Resolve,
    all_of,
    any_of,
    possible_types,
    to_core_types,
    to_json_types,
)
from edgeinfer.grammar.json_schema.intersection import intersect
from edgeinfer.grammar.json_schema.keywords import effective_keywords, pointer

MAX_CASES = 32
"""Combinations of alternatives at one node."""

MAX_COPIED_PROPERTIES = 1024
"""Cases times properties at one node, as each case is a copy of all properties."""

MAX_EXPANSION = 64
"""Alternatives in a case, unless all cases have more."""


class SchemaContext(Protocol):
    """The state shared by all nodes of a schema."""

    draft: int | None
    enforce_formats: bool
    has_formats: bool
    """Some string has a format that is enforced."""
    uncheckable: list[str]
    """JSON pointers of keywords that a finished answer cannot be checked against."""
    num_narrowed: int
    """Schemas replaced by narrower ones so far. Only the others can be negated."""

    def normalize(self, raw: Any, path: str) -> Core: ...

    def locate(self, raw: dict[str, Any], reference: str, path: str) -> tuple[str, Any]: ...

    def add_reference(self, raw: dict[str, Any], reference: str, path: str) -> Core: ...

    def resolve(self, reference: str) -> Core: ...

    def resolve_not_narrowed(self, reference: str) -> Core: ...

    def resolve_exact(self, reference: str) -> Core: ...

    @property
    def num_changes(self) -> int: ...

    def mark_unenforced(self, path: str) -> None: ...

    def is_omitted(self, path: str, keyword: str) -> bool: ...

    def share(self, core: Core) -> Core: ...

    def patterns_overlap(self, patterns: list[str]) -> bool: ...


class SchemaNode:
    """One schema object: the keywords as the caller wrote them, and the core schema so far.

    Attributes:
        raw: the caller's schema.
        keywords: those of its keywords that are in effect.
        local: the core schema of the node's own keywords.
        conjuncts: core schemas that must hold as well.
        conjuncts_first: properties of `conjuncts` precede those of `local`.
    """

    def __init__(self, context: SchemaContext, raw: dict[str, Any], path: str) -> None:
        self.context = context
        self.raw = raw
        self.keywords = keywords = effective_keywords(raw, path, context.draft)
        self.path = path
        for keyword in [keyword for keyword in keywords if context.is_omitted(path, keyword)]:
            self.mark_unenforced(keyword)
            del keywords[keyword]
        self.local: dict[str, Any] = {}
        self.conjuncts: list[Core] = []
        self._cases: list[Core] | None = None
        self._full = False  # no further alternatives fit into `_cases`
        names = keywords.get("type")
        if names is not None:
            self.local["type"] = to_json_types(to_core_types([names] if isinstance(names, str) else names))
        order = list(keywords)
        applicators = [order.index(k) for k in ("allOf", "anyOf", "oneOf", "$ref") if k in keywords]
        properties = [order.index(k) for k in ("properties", "required") if k in keywords]
        self.conjuncts_first = bool(applicators) and min(applicators) < min(properties, default=-1)

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.keywords.get(keyword, default)

    def get_count(self, keyword: str, default: int | None = None) -> int | None:
        value = self.keywords.get(keyword)
        return default if value is None else int(value)

    def may_be(self, core_type: str) -> bool:
        """Tell if a value here can have this type."""
        return core_type in self.possible_types()

    def possible_types(self) -> set[str]:
        return possible_types(self.local, self.context.resolve)

    def normalize(self, *steps: str | int) -> Core:
        """Return the core schema of the subschema that lies these steps below."""
        raw: Any = self.keywords
        for step in steps:
            raw = raw[step]
        return self.context.normalize(raw, pointer(self.path, *steps))

    def mark_narrowed(self) -> None:
        """Note that the core schema allows less than the caller's."""
        self.context.num_narrowed += 1

    def mark_unenforced(self, keyword: str, *steps: str | int) -> None:
        """Note that a keyword is not enforced, so that finished answers are checked for it."""
        self.context.mark_unenforced(pointer(self.path, keyword, *steps))

    def require_any(self, options: list[Core], keyword: str) -> None:
        """Require that one of `options` holds, or mark `keyword` unenforced. Call it once `local` is complete."""
        if not self.try_require_any(options):
            self.mark_unenforced(keyword)

    def try_require_any(self, options: list[Core]) -> bool:
        """Require that one of `options` holds; return False and change nothing if that takes too many cases."""
        resolve = self.context.resolve
        cases: list[Core] = [dict(self.local)] if self._cases is None else self._cases
        self._full = self._full or len(cases) * len(options) > 8 * MAX_CASES
        if self._full and len(options) > 1:
            return False
        product = [intersect(case, option, resolve) for case in cases for option in options]
        product = [case for case in product if case is not False]
        num_properties = len(self.local.get("properties", ()))
        if len(product) > MAX_CASES or len(product) * num_properties > MAX_COPIED_PROPERTIES:
            self._full = True
            return False
        self._cases = product
        return True

    def to_core(self) -> Core:
        """Return the finished core schema."""
        local: Core = self.local if self._cases is None else any_of(self._shrink_cases(self._cases))
        conjuncts: list[Core] = [core for core in self.conjuncts if core is not True and core != {}]
        if not conjuncts or local is False:
            return local
        if isinstance(local, bool) or not local:
            return all_of(conjuncts)
        combined = all_of(conjuncts)
        if isinstance(combined, bool):
            return combined
        if combined.keys() & ({"$ref"} | local.keys()):
            combined = {"allOf": conjuncts}
        if "allOf" in local:
            both = [combined, local] if self.conjuncts_first else [local, combined]
            return {"allOf": both}
        return {**combined, **local} if self.conjuncts_first else {**local, **combined}

    def _shrink_cases(self, cases: list[Core]) -> list[Core]:
        """Drop cases that llguidance would multiply out, and keep one copy of the properties they share."""
        small = [case for case in cases if expansion_size(case, self.context.resolve) <= MAX_EXPANSION]
        if small and len(small) < len(cases):
            self.mark_narrowed()
            cases = small
        objects = [case for case in cases if isinstance(case, dict) and "properties" in case]
        shared = {
            name: self.context.share(schema)
            for name, schema in self.local.get("properties", {}).items()
            if len(objects) > 1 and all(case["properties"].get(name) is schema for case in objects)
        }
        return [
            {**case, "properties": case["properties"] | shared}
            if shared and isinstance(case, dict) and "properties" in case
            else case
            for case in cases
        ]


def expansion_size(core: Core, resolve: Resolve, fuel: int = MAX_REFS) -> int:
    """Count the alternatives in a schema once its conjunctions are multiplied out."""
    if isinstance(core, bool) or not fuel:
        return 1
    size = sum(expansion_size(option, resolve, fuel) for option in core["anyOf"]) if "anyOf" in core else 1
    for schema in core.get("allOf", ()):
        size *= expansion_size(schema, resolve, fuel)
    if "$ref" in core:
        size *= expansion_size(resolve(core["$ref"]), resolve, fuel - 1)
    return size
