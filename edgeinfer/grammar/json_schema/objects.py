"""Normalizes objects."""

from __future__ import annotations

from typing import Any

from edgeinfer.grammar.json_schema.core import Core, all_of
from edgeinfer.grammar.json_schema.evaluated_properties import EvaluatedProperties
from edgeinfer.grammar.json_schema.keywords import pointer
from edgeinfer.grammar.json_schema.property_counts import normalize_property_counts, object_schema
from edgeinfer.grammar.json_schema.scalars import check_python_reads
from edgeinfer.grammar.json_schema.schema_node import SchemaNode
from edgeinfer.grammar.regex import UnsupportedRegex, translate_regex

APPLICATORS = ("$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas")

MAX_PATTERNS = 64


def normalize_objects(node: SchemaNode) -> None:
    if not node.may_be("object"):
        return
    named: dict[str, Core] = {name: node.normalize("properties", name) for name in node.get("properties", ())}
    patterns = _normalize_patterns(node)
    others = node.normalize("additionalProperties") if "additionalProperties" in node.keywords else True
    if node.get("unevaluatedProperties", True) is not True:
        others = _normalize_unevaluated(node, named, patterns, others)
    if "propertyNames" in node.keywords:
        others = _normalize_names(node, named, patterns, others)
    required = list(dict.fromkeys(node.get("required", ())))
    if named:
        node.local["properties"] = named
    if patterns:
        node.local["patternProperties"] = patterns
    if others is not True:
        node.local["additionalProperties"] = others
    if required:
        node.local["required"] = required
    normalize_property_counts(node, named, patterns, others, required)
    _normalize_dependents(node, required)


def _normalize_patterns(node: SchemaNode) -> dict[str, Core]:
    """Return patternProperties with disjoint patterns."""
    schemas: dict[str, tuple[str, Core]] = {}
    is_closed = node.get("additionalProperties") is False
    for source in node.get("patternProperties", ()):
        schema = node.normalize("patternProperties", source)
        check_python_reads(node, source, "patternProperties", source)
        try:
            schemas[translate_regex(source)] = source, schema
        except UnsupportedRegex:
            _drop_pattern(node, source, is_closed)
    overlap = node.context.patterns_overlap
    if len(schemas) < 2 or (len(schemas) <= MAX_PATTERNS and not overlap(list(schemas))):
        return {pattern: schema for pattern, (_, schema) in schemas.items()}
    groups: list[tuple[list[str], Core]] = []  # patterns with equal schemas
    for pattern, (source, schema) in schemas.items():
        group = next((patterns for patterns, known in groups if known == schema), None)
        if group is not None:
            group.append(pattern)
        elif len(groups) == MAX_PATTERNS or (
            groups and overlap([_alternation(patterns) for patterns, _ in groups] + [pattern])
        ):
            _drop_pattern(node, source, is_closed)
        else:
            groups.append(([pattern], schema))
    return {_alternation(patterns): schema for patterns, schema in groups}


def _alternation(patterns: list[str]) -> str:
    return patterns[0] if len(patterns) == 1 else "|".join(f"(?:{pattern})" for pattern in patterns)


def _drop_pattern(node: SchemaNode, source: str, is_closed: bool) -> None:
    """Drop a pattern: a closed object gets no such property, others are checked when they are complete."""
    if is_closed:
        node.mark_narrowed()
    else:
        node.mark_unenforced("patternProperties", source)


def _normalize_unevaluated(
    node: SchemaNode, named: dict[str, Core], patterns: dict[str, Core], others: Core
) -> Core:
    """Return additionalProperties; properties that other schemas evaluate join `named` and `patterns`."""
    if "additionalProperties" in node.keywords:
        return others
    schema = node.normalize("unevaluatedProperties")
    if not any(keyword in node.keywords for keyword in APPLICATORS):
        return schema
    evaluated = EvaluatedProperties(node.context)
    evaluated.collect(node.raw, node.path)
    if evaluated.all_evaluated:
        return others
    if evaluated.conditional:
        node.mark_narrowed()
        node.mark_unenforced("unevaluatedProperties")
    for name in evaluated.properties:
        named.setdefault(name, True)
    for source in evaluated.patterns:
        try:
            pattern = translate_regex(source)
        except UnsupportedRegex:
            node.mark_narrowed()  # no such property will be written
            continue
        patterns.setdefault(pattern, True)
    return schema


def _normalize_names(
    node: SchemaNode, named: dict[str, Core], patterns: dict[str, Core], others: Core
) -> Core:
    """Express propertyNames as patternProperties, or as properties where the names are enumerated.

    Returns additionalProperties.
    """
    names = node.normalize("propertyNames")
    if names is False:
        node.local["maxProperties"] = 0
        return others
    if names is True or names.keys() <= {"type", "format"}:
        return others
    allowed = names.get("enum")
    if allowed is not None and names.keys() == {"enum"} and not patterns:
        for name in named:
            if name not in allowed:
                named[name] = False
        for name in allowed:
            if isinstance(name, str):
                named.setdefault(name, others)
        return False
    pattern = _name_pattern(names)
    if pattern is None or patterns or named or others is False:
        node.mark_unenforced("propertyNames")
        return others
    if not names.keys() <= {"type", "format", "pattern"} and "pattern" in names:
        node.mark_unenforced("propertyNames")  # the lengths
    patterns[pattern] = others
    return False


def _name_pattern(names: dict[str, Any]) -> str | None:
    """Return a pattern for the names that a core schema allows, perhaps without bounds of their length."""
    keywords = names.keys() - {"type", "format"}
    if "pattern" in keywords and keywords <= {"pattern", "minLength", "maxLength"}:
        pattern: str = names["pattern"]
        return pattern
    if keywords <= {"minLength", "maxLength"}:
        return rf"^[\x01-\x{{10ffff}}]{{{names.get('minLength', 0)},{names.get('maxLength', '')}}}$"
    return None


def _normalize_dependents(node: SchemaNode, required: list[str]) -> None:
    for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
        for name, dependency in node.get(keyword, {}).items():
            if isinstance(dependency, list):
                all_names = [name, *(n for n in dependency if n != name)]
                schema: Core = object_schema(node, required=all_names) if dependency else True
            else:
                schema = node.context.normalize(dependency, pointer(node.path, keyword, name))
                if schema is not True:
                    schema = all_of([object_schema(node, required=[name]), schema])
            if schema is True:
                continue
            absent = object_schema(node, properties={name: False})
            node.require_any([schema] if name in required else [absent, schema], keyword)
