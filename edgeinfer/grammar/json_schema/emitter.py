"""Emits core schemas as the JSON schema that llguidance takes, without values that could never be completed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.core import Core, all_of, any_of, possible_types, property_schema
from edgeinfer.grammar.json_schema.intersection import intersect
from edgeinfer.grammar.json_schema.keywords import schema_error
from edgeinfer.grammar.json_schema.normalizer import Normalizer
from edgeinfer.grammar.json_schema.patterns import any_text_except
from edgeinfer.grammar.json_schema.reference_graph import ReferenceGraph, ref_name

MAX_MERGED = 200

SCALARS = {"null", "boolean", "integer", "fraction", "string"}

STYLE = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "json_allowed_escapes": 'nrbtf\\"',
}
"""The JSON style of answers: that of json.dumps, which models were trained on. A small model that may write white
space writes nothing else. \\u is not allowed, as it would let a listed property's name be written a second time."""


class Emitter:
    """Emits one normalized schema."""

    def __init__(self, normalizer: Normalizer, unsatisfiable: Collection[str] = ()) -> None:
        """Find the definitions that can be completed; `unsatisfiable` names definitions that nothing satisfies.

        Raises UnsupportedSchema for a schema that refers to itself before anything is written.
        """
        self._normalizer = normalizer
        self._definitions = normalizer.definitions
        self._graph = ReferenceGraph(normalizer.definitions)
        self._unsatisfiable = unsatisfiable
        self._merged_names: dict[str, str] = {}
        self._pending: list[tuple[str, Core]] = []
        self._completable: set[str] = set()  # definitions of which some value can be written to its end
        self._check_progress()
        self._find_completable()

    def json_schema(self) -> dict[str, Any] | None:
        """Return the schema for llguidance; None if no value satisfies it."""
        if not self._can_complete(self._normalizer.root):
            return None
        root = self._emit(self._normalizer.root)
        definitions = {name: self._emit(self._definitions[name]) for name in sorted(self._completable)}
        while self._pending:
            name, core = self._pending.pop()
            definitions[name] = self._emit(core)
        keywords = {} if isinstance(root, bool) else root
        return {**keywords, **({"$defs": definitions} if definitions else {}), "x-guidance": STYLE}

    def _resolve(self, reference: str) -> Core:
        return self._definitions[ref_name(reference)]

    def _check_progress(self) -> None:
        name = self._graph.find_cycle(self._normalizer.same_value_refs)
        if name is not None:
            raise schema_error(
                self._normalizer.path_of(name),
                "the schema refers to itself endlessly",
                hint="break the cycle of references",
            )

    def _find_completable(self) -> None:
        num_before = -1
        while num_before < len(self._completable):
            num_before = len(self._completable)
            for name in reversed(self._definitions):  # the target of a reference was mostly defined later
                if (
                    name not in self._completable
                    and name not in self._unsatisfiable
                    and self._can_complete(self._definitions[name])
                ):
                    self._completable.add(name)

    def _can_complete(self, core: Core) -> bool:
        """Tell if some value can be written to its end, with the definitions known to be completable."""
        if isinstance(core, bool):
            return core
        if "$ref" in core and ref_name(core["$ref"]) not in self._completable:
            return False
        if not all(map(self._can_complete, core.get("allOf", ()))):
            return False
        if "anyOf" in core and not any(map(self._can_complete, core["anyOf"])):
            return False
        types = possible_types(core, self._resolve)
        if types & SCALARS:
            return True
        return ("object" in types and self._can_complete_object(core)) or (
            "array" in types and self._can_complete_array(core)
        )

    def _can_complete_object(self, core: dict[str, Any]) -> bool:
        return all(self._can_complete(property_schema(core, name)) for name in core.get("required", ()))

    def _can_complete_array(self, core: dict[str, Any]) -> bool:
        prefix = core.get("prefixItems", ())
        min_items = core.get("minItems", 0)
        return all(map(self._can_complete, prefix[:min_items])) and (
            min_items <= len(prefix) or self._can_complete(core.get("items", True))
        )

    def _emit(self, core: Core) -> Core:
        if isinstance(core, bool):
            return core
        if "$ref" in core and ref_name(core["$ref"]) not in self._completable:
            return False
        if self._needs_merge(core):
            return self._emit(self._merge(core))
        if "excluding" in core and "pattern" in core:
            rest = {keyword: value for keyword, value in core.items() if keyword != "excluding"}
            exclusion: Core = {keyword: core[keyword] for keyword in ("type", "excluding") if keyword in core}
            return self._emit(all_of([rest, exclusion]))
        return dict(self._emit_keyword(keyword, value) for keyword, value in core.items())

    def _emit_keyword(self, keyword: str, value: Any) -> tuple[str, Any]:
        if keyword in ("properties", "patternProperties"):
            value = {key: self._emit_child(schema) for key, schema in value.items()}
        elif keyword == "prefixItems":
            value = [self._emit_child(schema) for schema in value]
        elif keyword in ("allOf", "anyOf"):
            value = [self._emit(schema) for schema in value]
        elif keyword in ("items", "additionalProperties"):
            value = self._emit_child(value)
        elif keyword == "type" and len(value) == 1:
            value = value[0]
        elif keyword == "excluding":
            return "pattern", any_text_except(value)
        return keyword, value

    def _emit_child(self, core: Core) -> Core:
        """Emit the schema of a property or an item.

        One that is merged gets a name: it may contain itself again.
        """
        if not self._needs_merge(core):
            return self._emit(core)
        key = json.dumps(core)
        if key not in self._merged_names:
            if len(self._merged_names) == MAX_MERGED:
                raise GrammarTooComplex(
                    f"the schema combines circular references in more than {MAX_MERGED} ways"
                )
            name = self._merged_names[key] = f"j{hashlib.sha256(key.encode()).hexdigest()[:16]}"
            if name not in self._unsatisfiable:
                self._pending.append((name, core))
        name = self._merged_names[key]
        return name not in self._unsatisfiable and {"$ref": f"#/$defs/{name}"}

    def _merge(self, core: Core) -> Core:
        """Replace circular references that are combined with other schemas by intersections with them."""
        if isinstance(core, bool):
            return core
        merged: Core = {k: v for k, v in core.items() if k not in ("$ref", "allOf", "anyOf")}
        if "$ref" in core:
            name = ref_name(core["$ref"])
            circular = self._graph.reaches_cycle(name)
            target: Core = self._merge(self._resolve(name)) if circular else {"$ref": core["$ref"]}
            merged = intersect(target, merged, self._resolve)
        for schema in core.get("allOf", ()):
            merged = intersect(merged, self._merge(schema), self._resolve)
        if "anyOf" in core:
            options = [self._merge(option) for option in core["anyOf"]]
            return any_of([intersect(merged, option, self._resolve) for option in options])
        return merged

    def _needs_merge(self, core: Core, combined: bool = False) -> bool:
        """Tell if a schema combines a circular reference with another schema, which llguidance cannot."""
        if isinstance(core, bool):
            return False
        schemas = core.get("allOf", ())
        combined = combined or len(core) > 1 or len(schemas) > 1
        if "$ref" in core and combined and self._graph.reaches_cycle(ref_name(core["$ref"])):
            return True
        return any(self._needs_merge(schema, combined) for schema in (*schemas, *core.get("anyOf", ())))
