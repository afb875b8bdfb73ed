"""Objects."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

from edgeinfer.grammar.json_schema.core import Core, all_of
from edgeinfer.grammar.json_schema.evaluated_properties import Names
from edgeinfer.grammar.json_schema.keywords import pointer
from edgeinfer.grammar.json_schema.scalars import check_python
from edgeinfer.grammar.json_schema.schema_node import Place
from edgeinfer.grammar.regex import Untranslatable, translate

APPLICATORS = ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas")

MAX_PATTERNS = 64

MAX_CHOSEN = 32
"""Choices of optional properties for the sake of minProperties or maxProperties."""


def objects(place: Place) -> None:
    if not place.concerns("object"):
        return
    named: dict[str, Core] = {name: place.reduce("properties", name) for name in place.get("properties", ())}
    patterns = _patterns(place)
    others = place.reduce("additionalProperties") if "additionalProperties" in place.keywords else True
    if place.get("unevaluatedProperties", True) is not True:
        others = _unevaluated(place, named, patterns, others)
    if "propertyNames" in place.keywords:
        others = _names(place, named, patterns, others)
    required = list(dict.fromkeys(place.get("required", ())))
    if named:
        place.own["properties"] = named
    if patterns:
        place.own["patternProperties"] = patterns
    if others is not True:
        place.own["additionalProperties"] = others
    if required:
        place.own["required"] = required
    _sizes(place, named, patterns, others, required)
    _dependents(place, required)


def _patterns(place: Place) -> dict[str, Core]:
    """patternProperties with disjoint patterns."""
    schemas: dict[str, tuple[str, Core]] = {}
    closed = place.get("additionalProperties") is False
    for source in place.get("patternProperties", ()):
        schema = place.reduce("patternProperties", source)
        check_python(place, source, "patternProperties", source)
        try:
            schemas[translate(source)] = source, schema
        except Untranslatable:
            _leave(place, source, closed)
    overlap = place.context.overlap
    if len(schemas) < 2 or (len(schemas) <= MAX_PATTERNS and not overlap(list(schemas))):
        return {pattern: schema for pattern, (_, schema) in schemas.items()}
    found: list[tuple[list[str], Core]] = []
    for pattern, (source, schema) in schemas.items():
        equal = next((patterns for patterns, known in found if known == schema), None)
        if equal is not None:
            equal.append(pattern)
        elif len(found) == MAX_PATTERNS or (
            found and overlap([_any(patterns) for patterns, _ in found] + [pattern])
        ):
            _leave(place, source, closed)
        else:
            found.append(([pattern], schema))
    return {_any(patterns): schema for patterns, schema in found}


def _any(patterns: list[str]) -> str:
    return patterns[0] if len(patterns) == 1 else "|".join(f"(?:{pattern})" for pattern in patterns)


def _leave(place: Place, source: str, closed: bool) -> None:
    """No such property will be written, if no others may be; else only the finished answer tells."""
    if closed:
        place.narrow()
    else:
        place.leave("patternProperties", source)


def _unevaluated(place: Place, named: dict[str, Core], patterns: dict[str, Core], others: Core) -> Core:
    """As additionalProperties that know the properties of the schemas beside them."""
    if "additionalProperties" in place.keywords:
        return others
    schema = place.reduce("unevaluatedProperties")
    if not any(keyword in place.keywords for keyword in APPLICATORS):
        return schema
    seen = Names(place.context)
    seen.add(place.raw, place.at)
    if seen.open:
        return others
    if seen.uncertain:
        place.narrow()
        place.leave("unevaluatedProperties")
    for name in seen.properties:
        named.setdefault(name, True)
    for source in seen.patterns:
        try:
            pattern = translate(source)
        except Untranslatable:
            place.narrow()  # no such property will be written
            continue
        patterns.setdefault(pattern, True)
    return schema


def _names(place: Place, named: dict[str, Core], patterns: dict[str, Core], others: Core) -> Core:
    """propertyNames as patternProperties, or as properties where they are enumerated."""
    rule = place.reduce("propertyNames")
    if rule is False:
        place.own["maxProperties"] = 0
        return others
    if rule is True or rule.keys() <= {"type", "format"}:
        return others
    texts = rule.get("enum")
    if texts is not None and rule.keys() == {"enum"} and not patterns:
        for name in named:
            if name not in texts:
                named[name] = False
        for name in texts:
            if isinstance(name, str):
                named.setdefault(name, others)
        return False
    pattern = _as_pattern(rule)
    if pattern is None or patterns or named or others is False:
        place.leave("propertyNames")
        return others
    if not rule.keys() <= {"type", "format", "pattern"} and "pattern" in rule:
        place.leave("propertyNames")  # the lengths
    patterns[pattern] = others
    return False


def _as_pattern(rule: dict[str, Any]) -> str | None:
    rest = rule.keys() - {"type", "format"}
    if "pattern" in rest and rest <= {"pattern", "minLength", "maxLength"}:
        pattern: str = rule["pattern"]
        return pattern
    if rest <= {"minLength", "maxLength"}:
        return rf"^[\x01-\x{{10ffff}}]{{{rule.get('minLength', 0)},{rule.get('maxLength', '')}}}$"
    return None


def _sizes(
    place: Place, named: dict[str, Core], patterns: dict[str, Core], others: Core, required: list[str]
) -> None:
    """minProperties and maxProperties, as choices of which of the optional properties are there."""
    least, most = place.count("minProperties", 0) or 0, place.count("maxProperties")
    optional = [name for name, schema in named.items() if schema is not False and name not in required]
    closed = others is False and not any(schema is not False for schema in patterns.values())
    lacking = max(least - len(required), 0)
    spare = None if most is None else most - len(required)
    if spare is not None and spare < 0:
        place.own["maxProperties"] = most  # llguidance says that it cannot be
        return
    if not optional:
        _as_map(place, lacking, least, most)
        return
    if lacking and comb(len(optional), lacking) > MAX_CHOSEN:
        place.leave("minProperties")
    elif lacking:
        if not closed:
            place.narrow()
        place.choose(
            [_object(place, required=chosen) for chosen in combinations(optional, lacking)], "minProperties"
        )
    if spare is None or (closed and spare >= len(optional)):
        return
    if sum(comb(len(optional), n) for n in range(spare + 1)) > MAX_CHOSEN:
        place.leave("maxProperties")
        return
    if not closed:
        place.narrow()
    sizes = [n for n in range(min(spare, len(optional)) + 1) if n >= lacking]
    options = []
    for chosen in (c for n in sizes for c in combinations(optional, n)):
        absent = {name: False for name in optional if name not in chosen}
        option = _object(place, required=chosen, properties=absent)
        options.append(option if closed else all_of([option, _closed(place, named)]))
    place.choose(options, "maxProperties")


def _as_map(place: Place, lacking: int, least: int, most: int | None) -> None:
    """All properties are required, or there are none but free ones: llguidance counts those."""
    if least:
        place.own["minProperties"] = least
    if most is not None:
        place.own["maxProperties"] = most
    if lacking > 1:
        place.leave("minProperties")  # it counts, but does not see that a name comes twice


def _closed(place: Place, named: dict[str, Core]) -> Core:
    return _object(place, properties=dict.fromkeys((*named, *place.get("required", ())), True)) | {
        "additionalProperties": False
    }


def _object(place: Place, **keywords: Any) -> dict[str, Any]:
    """A schema for the objects here; what is no object here stays what it is."""
    found = {keyword: list(v) if isinstance(v, tuple) else v for keyword, v in keywords.items() if v}
    return {"type": place.own["type"], **found} if "type" in place.own else found


def _dependents(place: Place, required: list[str]) -> None:
    for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
        for name, then in place.get(keyword, {}).items():
            if isinstance(then, list):
                schema: Core = (
                    _object(place, required=[name, *(n for n in then if n != name)]) if then else True
                )
            else:
                schema = place.context.reduce(then, pointer(place.at, keyword, name))
                if schema is not True:
                    schema = all_of([_object(place, required=[name]), schema])
            if schema is True:
                continue
            without = _object(place, properties={name: False})
            place.choose([schema] if name in required else [without, schema], keyword)
