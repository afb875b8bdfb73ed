"""Core schemas as text for llguidance, without what could be begun and never ended."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.core import Core, all_of, any_of, types
from edgeinfer.grammar.json_schema.disjoint import of_property
from edgeinfer.grammar.json_schema.intersection import join
from edgeinfer.grammar.json_schema.keywords import invalid
from edgeinfer.grammar.json_schema.normalizer import Reduction
from edgeinfer.grammar.regex import excluding

MAX_JOINED = 200

SCALARS = {"null", "boolean", "integer", "fraction", "string"}

STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": 'nrbtf\\"',
}
"""How answers write JSON: as json.dumps does, which models were trained on. A small model that may put in white
space puts in nothing else. And without \\u, by which a further property could bear a listed property's name."""


class Emission:
    """Of one reduction."""

    def __init__(self, reduction: Reduction, dead: Collection[str] = ()) -> None:
        """`dead` names definitions that nothing satisfies.

        Raises UnsupportedSchema where a schema leads to itself before anything was written.
        """
        self._reduction = reduction
        self._dead = dead
        self._joined: dict[str, str] = {}
        self._todo: list[tuple[str, Core]] = []
        self._looping: dict[str, bool] = {}
        self._leads: dict[str, list[str]] = {}
        self._ending: set[str] = set()  # the definitions that can be written to an end
        self._check_progress()
        self._find_ending()

    def json_schema(self) -> dict[str, Any] | None:
        """What llguidance takes; None where no value satisfies the schema."""
        if not self._ends(self._reduction.root):
            return None
        root = self._emitted(self._reduction.root)
        definitions = {
            name: self._emitted(self._reduction.definitions[name]) for name in sorted(self._ending)
        }
        while self._todo:
            name, core = self._todo.pop()
            definitions[name] = self._emitted(core)
        found = {} if isinstance(root, bool) else root
        return {**found, **({"$defs": definitions} if definitions else {}), "x-guidance": STYLE}

    def _resolve(self, reference: str) -> Core:
        return self._reduction.definitions[_name(reference)]

    def _check_progress(self) -> None:
        done: set[str] = set()
        for start in self._reduction.definitions:
            way: dict[str, None] = {}
            todo = [(start, False)]
            while todo:
                name, left = todo.pop()
                if left:
                    way.popitem()
                    done.add(name)
                elif name in way:
                    raise invalid(
                        self._reduction.pointer(name),
                        "the schema refers to itself without end",
                        hint="break the circle",
                    )
                elif name not in done:
                    way[name] = None
                    todo.append((name, True))
                    todo += [(other, False) for other in self._reduction.in_place.get(name, ())]

    def _find_ending(self) -> None:
        definitions = self._reduction.definitions
        before = -1
        while before < len(self._ending):
            before = len(self._ending)
            for name in reversed(definitions):  # what is referred to was mostly defined later
                if name not in self._ending and name not in self._dead and self._ends(definitions[name]):
                    self._ending.add(name)

    def _ends(self, core: Core) -> bool:
        """A value can be written to its end, by means of the definitions known to end."""
        if isinstance(core, bool):
            return core
        if "$ref" in core and _name(core["$ref"]) not in self._ending:
            return False
        if not all(map(self._ends, core.get("allOf", ()))):
            return False
        if "anyOf" in core and not any(map(self._ends, core["anyOf"])):
            return False
        kinds = types(core, self._resolve)
        if kinds & SCALARS:
            return True
        return ("object" in kinds and self._object_ends(core)) or (
            "array" in kinds and self._array_ends(core)
        )

    def _object_ends(self, core: dict[str, Any]) -> bool:
        return all(self._ends(of_property(core, name)) for name in core.get("required", ()))

    def _array_ends(self, core: dict[str, Any]) -> bool:
        prefix = core.get("prefixItems", ())
        least = core.get("minItems", 0)
        return all(map(self._ends, prefix[:least])) and (
            least <= len(prefix) or self._ends(core.get("items", True))
        )

    def _emitted(self, core: Core) -> Core:
        if isinstance(core, bool):
            return core
        if "$ref" in core and _name(core["$ref"]) not in self._ending:
            return False
        if self._joins(core):
            return self._emitted(self._flat(core))
        if "excluding" in core and "pattern" in core:
            rest = {keyword: value for keyword, value in core.items() if keyword != "excluding"}
            only: Core = {keyword: core[keyword] for keyword in ("type", "excluding") if keyword in core}
            return self._emitted(all_of([rest, only]))
        return dict(self._keyword(keyword, value) for keyword, value in core.items())

    def _keyword(self, keyword: str, value: Any) -> tuple[str, Any]:
        if keyword in ("properties", "patternProperties"):
            value = {key: self._child(schema) for key, schema in value.items()}
        elif keyword == "prefixItems":
            value = [self._child(schema) for schema in value]
        elif keyword in ("allOf", "anyOf"):
            value = [self._emitted(schema) for schema in value]
        elif keyword in ("items", "additionalProperties"):
            value = self._child(value)
        elif keyword == "type" and len(value) == 1:
            value = value[0]
        elif keyword == "excluding":
            return "pattern", excluding(value)
        return keyword, value

    def _child(self, core: Core) -> Core:
        """The schema of another value.

        One that joins a circular reference with something gets a name: joined, it may contain itself again.
        """
        if not self._joins(core):
            return self._emitted(core)
        key = json.dumps(core)
        if key not in self._joined:
            if len(self._joined) == MAX_JOINED:
                raise GrammarTooComplex("the schema has too many combinations of circular references")
            name = self._joined[key] = f"j{hashlib.sha256(key.encode()).hexdigest()[:16]}"
            if name not in self._dead:
                self._todo.append((name, core))
        name = self._joined[key]
        return name not in self._dead and {"$ref": f"#/$defs/{name}"}

    def _flat(self, core: Core) -> Core:
        """The same without circular references that are to be joined with something."""
        if isinstance(core, bool):
            return core
        found: Core = {k: v for k, v in core.items() if k not in ("$ref", "allOf", "anyOf")}
        if "$ref" in core:
            name = _name(core["$ref"])
            there: Core = {"$ref": core["$ref"]}
            found = join(
                self._flat(self._resolve(name)) if self._loops(name) else there, found, self._resolve
            )
        for part in core.get("allOf", ()):
            found = join(found, self._flat(part), self._resolve)
        if "anyOf" in core:
            options = [self._flat(option) for option in core["anyOf"]]
            return any_of([join(found, option, self._resolve) for option in options])
        return found

    def _joins(self, core: Core, beside: bool = False) -> bool:
        if isinstance(core, bool):
            return False
        parts = core.get("allOf", ())
        beside = beside or len(core) > 1 or len(parts) > 1
        if "$ref" in core:
            name = _name(core["$ref"])
            if beside and self._loops(name):
                return True
        return any(self._joins(part, beside) for part in (*parts, *core.get("anyOf", ())))

    def _loops(self, name: str) -> bool:
        """A definition leads to one that leads to itself."""
        if name not in self._looping:
            closure = self._closure(name)
            self._looping[name] = name in closure or any(other in self._closure(other) for other in closure)
        return self._looping[name]

    def _closure(self, name: str) -> set[str]:
        seen: set[str] = set()
        todo = list(self._led_to(name))
        while todo:
            other = todo.pop()
            if other not in seen:
                seen.add(other)
                todo += self._led_to(other)
        return seen

    def _led_to(self, name: str) -> list[str]:
        if name not in self._leads:
            self._leads[name] = _references(self._reduction.definitions[name])
        return self._leads[name]


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _references(core: Core) -> list[str]:
    """All definitions that are referred to."""
    found = []
    todo: list[Any] = [core]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            found += [_name(one["$ref"])] if isinstance(one.get("$ref"), str) else []
            todo += [value for keyword, value in one.items() if keyword != "enum"]
        elif isinstance(one, list):
            todo += one
    return found
