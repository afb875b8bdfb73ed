"""Normalizes arrays."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.core import Core, all_of, any_of, json_equal
from edgeinfer.grammar.json_schema.disjoint import disjoint
from edgeinfer.grammar.json_schema.keywords import location, pointer
from edgeinfer.grammar.json_schema.negation import negations
from edgeinfer.grammar.json_schema.schema_node import SchemaNode

MAX_ITEMS = 10_000
MAX_PERMUTED = 3
MAX_CONTAINED = 16


def normalize_arrays(node: SchemaNode) -> None:
    if not node.may_be("array"):
        return
    prefix, items = _normalize_items(node)
    min_items, max_items = node.get_count("minItems", 0) or 0, node.get_count("maxItems")
    if min_items > MAX_ITEMS:
        raise GrammarTooComplex(
            f"{location(pointer(node.path, 'minItems'))}: arrays of at least {min_items} items are not supported",
            hint=f"use a minItems of {MAX_ITEMS} or less",
        )
    if max_items is not None and max_items > MAX_ITEMS:
        node.mark_unenforced("maxItems")
        max_items = None
    if "contains" in node.keywords:
        prefix, items, min_items = _normalize_contains(node, prefix, items, min_items, max_items)
    if node.get("unevaluatedItems", True) is not True:
        items = _normalize_unevaluated(node, items)
    if node.get("uniqueItems"):
        _normalize_unique(node, prefix, items, min_items, max_items)
    keywords = {"prefixItems": prefix, "minItems": min_items}
    node.local.update({keyword: value for keyword, value in keywords.items() if value})
    if items is not True:
        node.local["items"] = items
    if max_items is not None:
        node.local["maxItems"] = max_items


def _normalize_items(node: SchemaNode) -> tuple[list[Core], Core]:
    """Return the schemas of the first items, and that of all others."""
    items = node.get("items", True)
    if isinstance(items, list):
        rest = node.normalize("additionalItems") if "additionalItems" in node.keywords else True
        return [node.normalize("items", n) for n in range(len(items))], rest
    prefix = [node.normalize("prefixItems", n) for n in range(len(node.get("prefixItems", ())))]
    return prefix, node.normalize("items") if "items" in node.keywords else True


def _normalize_contains(
    node: SchemaNode, prefix: list[Core], items: Core, min_items: int, max_items: int | None
) -> tuple[list[Core], Core, int]:
    """Narrow to arrays in which the contained items come first."""
    contained = node.normalize("contains")
    min_contains, max_contains = node.get_count("minContains", 1) or 0, node.get_count("maxContains")
    unchanged = prefix, items, min_items
    if min_contains == 0 and max_contains is None:
        return unchanged
    if (
        min_contains > MAX_CONTAINED
        or (max_items is not None and max_items < len(prefix) + min_contains)
        or disjoint(items, contained, node.context.resolve)
        or (max_contains is not None and (prefix or max_contains < min_contains))
    ):
        node.mark_unenforced("contains")
        return unchanged
    rest = items
    if max_contains is not None:
        negated = negations(contained, node.context.resolve_exact)
        if negated is None:
            node.mark_unenforced("maxContains")
        else:
            rest = all_of([items, any_of(negated)])
    node.mark_narrowed()
    first = [all_of([items, contained])] * min_contains
    min_length = max(min_items, len(prefix) + min_contains) if min_contains else min_items
    return [*prefix, *first], rest, min_length


def _normalize_unevaluated(node: SchemaNode, items: Core) -> Core:
    applicators = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "contains", "dependentSchemas")
    if any(keyword in node.keywords for keyword in applicators):
        node.mark_unenforced("unevaluatedItems")
        return items
    return items if "items" in node.keywords else node.normalize("unevaluatedItems")


def _normalize_unique(
    node: SchemaNode, prefix: list[Core], items: Core, min_items: int, max_items: int | None
) -> None:
    """Enumerate arrays of few values in every order; others are checked once the answer is complete."""
    if max_items is not None and max_items <= 1:
        return
    values = items.get("enum") if isinstance(items, dict) else None
    if isinstance(items, dict) and items == {"type": ["boolean"]}:
        values = [True, False]
    if not prefix and values is not None and len(values) <= MAX_PERMUTED and not _has_duplicates(values):
        longest = len(values) if max_items is None else min(len(values), max_items)
        arrays = [list(p) for size in range(min_items, longest + 1) for p in permutations(values, size)]
        options: list[Core] = [{"enum": arrays}] if arrays else []
        other_types = [
            name
            for name in ("null", "boolean", "number", "string", "object")
            if node.may_be("fraction" if name == "number" else name)
        ]
        node.conjuncts.append(any_of([*options, *([{"type": other_types}] if other_types else [])]))
        return
    if (
        items is False
        and len(prefix) <= MAX_CONTAINED
        and all(disjoint(a, b, node.context.resolve_not_narrowed) for a, b in combinations(prefix, 2))
    ):
        return
    node.mark_unenforced("uniqueItems")


def _has_duplicates(values: list[Any]) -> bool:
    return any(json_equal(a, b) for a, b in combinations(values, 2))
