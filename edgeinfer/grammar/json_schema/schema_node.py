"""One place of a schema on its way to a core schema."""

from __future__ import annotations

from typing import Any, Protocol

from edgeinfer.grammar.json_schema.core import FUEL, Core, Resolve, all_of, any_of, joined, split, types
from edgeinfer.grammar.json_schema.intersection import join
from edgeinfer.grammar.json_schema.keywords import in_force, pointer

MAX_CASES = 32
"""Combinations of alternatives that one place may come to."""

MAX_COPIED = 1024
"""As MAX_CASES, times the properties there: each case is a copy of all."""


MAX_WEIGHT = 64
"""Alternatives that a case may come to, as long as others come to less."""


class Context(Protocol):
    """What all places of a schema share."""

    draft: int | None
    formats: bool
    """Formats are enforced."""
    formatted: bool
    uncheckable: list[str]
    strengthened: int
    """How often something was replaced by what is narrower. Only what is not can be negated."""

    def reduce(self, raw: Any, at: str) -> Core: ...

    def locate(self, raw: dict[str, Any], reference: str, at: str) -> tuple[str, Any]: ...

    def refer(self, raw: dict[str, Any], reference: str, at: str) -> Core: ...

    def resolve(self, reference: str) -> Core: ...

    def resolve_wide(self, reference: str) -> Core: ...

    def resolve_exactly(self, reference: str) -> Core: ...

    @property
    def changes(self) -> int: ...

    def leave(self, at: str) -> None: ...

    def omits(self, at: str, keyword: str) -> bool: ...

    def share(self, core: Core) -> Core: ...

    def overlap(self, patterns: list[str]) -> bool: ...


class Place:
    """What the keywords at one place come to.

    Attributes:
        raw: the caller's schema.
        keywords: what of it is in force.
        own: the core schema so far, but for what follows.
        parts: schemas that must hold as well.
        first: `parts` come before `own` in the order of properties.
    """

    def __init__(self, context: Context, raw: dict[str, Any], at: str) -> None:
        self.context = context
        self.raw = raw
        self.keywords = keywords = in_force(raw, at, context.draft)
        self.at = at
        for keyword in [keyword for keyword in keywords if context.omits(at, keyword)]:
            self.leave(keyword)
            del keywords[keyword]
        self.own: dict[str, Any] = {}
        self.parts: list[Core] = []
        self._cases: list[Core] | None = None
        self._full = False
        names = keywords.get("type")
        if names is not None:
            self.own["type"] = joined(split([names] if isinstance(names, str) else names))
        order = list(keywords)
        in_place = [order.index(k) for k in ("allOf", "anyOf", "oneOf", "$ref") if k in keywords]
        own = [order.index(k) for k in ("properties", "required") if k in keywords]
        self.first = bool(in_place) and min(in_place) < min(own, default=-1)

    def get(self, keyword: str, default: Any = None) -> Any:
        return self.keywords.get(keyword, default)

    def count(self, keyword: str, default: int | None = None) -> int | None:
        found = self.keywords.get(keyword)
        return default if found is None else int(found)

    def concerns(self, kind: str) -> bool:
        """A value here may be of this type."""
        return kind in self.types()

    def types(self) -> set[str]:
        return types(self.own, self.context.resolve)

    def reduce(self, *steps: str | int) -> Core:
        """The schema that lies so many steps below."""
        raw: Any = self.keywords
        for step in steps:
            raw = raw[step]
        return self.context.reduce(raw, pointer(self.at, *steps))

    def narrow(self) -> None:
        """Note that what follows is narrower than what was asked for."""
        self.context.strengthened += 1

    def leave(self, keyword: str, *steps: str | int) -> None:
        """Note that a keyword is not enforced."""
        self.context.leave(pointer(self.at, keyword, *steps))

    def choose(self, options: list[Core], keyword: str) -> None:
        """One of `options` must hold. Call this once `own` is complete."""
        if not self.chosen(options):
            self.leave(keyword)

    def chosen(self, options: list[Core]) -> bool:
        """As `choose`; False, and nothing is changed, where it comes to too much."""
        resolve = self.context.resolve
        cases: list[Core] = [dict(self.own)] if self._cases is None else self._cases
        self._full = self._full or len(cases) * len(options) > 8 * MAX_CASES
        if self._full and len(options) > 1:
            return False
        found = [join(case, option, resolve) for case in cases for option in options]
        found = [case for case in found if case is not False]
        if len(found) > MAX_CASES or len(found) * len(self.own.get("properties", ())) > MAX_COPIED:
            self._full = True
            return False
        self._cases = found
        return True

    def core(self) -> Core:
        own: Core = self.own if self._cases is None else any_of(self._shared(self._cases))
        parts: list[Core] = [part for part in self.parts if part is not True and part != {}]
        if not parts or own is False:
            return own
        if isinstance(own, bool) or not own:
            return all_of(parts)
        together = all_of(parts)
        if isinstance(together, bool):
            return together
        if together.keys() & ({"$ref"} | own.keys()):
            together = {"allOf": parts}
        if "allOf" in own:
            own, together = {}, {"allOf": [together, own] if self.first else [own, together]}
        return {**together, **own} if self.first else {**own, **together}

    def _shared(self, cases: list[Core]) -> list[Core]:
        """The cases, without those that llguidance would multiply out, and with one copy of what they share."""
        light = [case for case in cases if weight(case, self.context.resolve) <= MAX_WEIGHT]
        if light and len(light) < len(cases):
            self.narrow()
            cases = light
        objects = [case for case in cases if isinstance(case, dict) and "properties" in case]
        shared = {
            name: self.context.share(schema)
            for name, schema in self.own.get("properties", {}).items()
            if len(objects) > 1 and all(case["properties"].get(name) is schema for case in objects)
        }
        return [
            {**case, "properties": case["properties"] | shared}
            if shared and isinstance(case, dict) and "properties" in case
            else case
            for case in cases
        ]


def weight(core: Core, resolve: Resolve, fuel: int = FUEL) -> int:
    """How many alternatives it comes to once all that must hold together is multiplied out."""
    if isinstance(core, bool) or not fuel:
        return 1
    found = sum(weight(option, resolve, fuel) for option in core["anyOf"]) if "anyOf" in core else 1
    for part in core.get("allOf", ()):
        found *= weight(part, resolve, fuel)
    if "$ref" in core:
        found *= weight(resolve(core["$ref"]), resolve, fuel - 1)
    return found
