"""Arrays."""

from __future__ import annotations

from itertools import combinations, permutations
from typing import Any

from edgeinfer.errors import GrammarTooComplex
from edgeinfer.grammar.json_schema.core import Core, all_of, any_of, negations, same
from edgeinfer.grammar.json_schema.disjoint import disjoint
from edgeinfer.grammar.json_schema.schema_node import Place

MAX_ITEMS = 10_000
MAX_PERMUTED = 3
MAX_CONTAINED = 16


def arrays(place: Place) -> None:
    if not place.concerns("array"):
        return
    prefix, items = _items(place)
    least, most = place.count("minItems", 0) or 0, place.count("maxItems")
    if least > MAX_ITEMS:
        raise GrammarTooComplex(
            f"at {place.at}/minItems: arrays of at least {least} items are not supported",
            hint=f"ask for {MAX_ITEMS} at most",
        )
    if most is not None and most > MAX_ITEMS:
        place.leave("maxItems")
        most = None
    if "contains" in place.keywords:
        prefix, items, least = _contains(place, prefix, items, least, most)
    if place.get("unevaluatedItems", True) is not True:
        items = _unevaluated(place, items)
    if place.get("uniqueItems"):
        _unique(place, prefix, items, least, most)
    found = {"prefixItems": prefix, "minItems": least}
    place.own.update({keyword: value for keyword, value in found.items() if value})
    if items is not True:
        place.own["items"] = items
    if most is not None:
        place.own["maxItems"] = most


def _items(place: Place) -> tuple[list[Core], Core]:
    """What the first items must be, and all others."""
    items = place.get("items", True)
    if isinstance(items, list):
        rest = place.reduce("additionalItems") if "additionalItems" in place.keywords else True
        return [place.reduce("items", n) for n in range(len(items))], rest
    prefix = [place.reduce("prefixItems", n) for n in range(len(place.get("prefixItems", ())))]
    return prefix, place.reduce("items") if "items" in place.keywords else True


def _contains(
    place: Place, prefix: list[Core], items: Core, least: int, most: int | None
) -> tuple[list[Core], Core, int]:
    """Narrowed to arrays where the items asked for come first."""
    wanted = place.reduce("contains")
    low, high = place.count("minContains", 1) or 0, place.count("maxContains")
    unchanged = prefix, items, least
    if low == 0 and high is None:
        return unchanged
    resolve = place.context.resolve
    if (
        low > MAX_CONTAINED
        or (most is not None and most < len(prefix) + low)
        or disjoint(items, wanted, resolve)
        or (high is not None and (prefix or high < low))
    ):
        place.leave("contains")
        return unchanged
    rest = items
    if high is not None:
        others = negations(wanted, place.context.resolve_exactly)
        if others is None:
            place.leave("maxContains")
        else:
            rest = all_of([items, any_of(others)])
    place.narrow()
    first = [all_of([items, wanted])] * low
    return [*prefix, *first], rest, max(least, len(prefix) + low) if low else least


def _unevaluated(place: Place, items: Core) -> Core:
    applicators = ("$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "contains", "dependentSchemas")
    if any(keyword in place.keywords for keyword in applicators):
        place.leave("unevaluatedItems")
        return items
    return items if "items" in place.keywords else place.reduce("unevaluatedItems")


def _unique(place: Place, prefix: list[Core], items: Core, least: int, most: int | None) -> None:
    """Few values are enumerated in every order; otherwise the answer is checked once it is complete."""
    if most is not None and most <= 1:
        return
    values = items.get("enum") if isinstance(items, dict) else None
    if isinstance(items, dict) and items == {"type": ["boolean"]}:
        values = [True, False]
    if not prefix and values is not None and len(values) <= MAX_PERMUTED and not _twice(values):
        sizes = range(least, min(len(values), len(values) if most is None else most) + 1)
        found = [list(one) for size in sizes for one in permutations(values, size)]
        others = [
            name for name in ("null", "boolean", "number", "string", "object") if place.concerns(_ours(name))
        ]
        arrays: list[Core] = [{"enum": found}] if found else []
        place.parts.append(any_of([*arrays, *([{"type": others}] if others else [])]))
        return
    if (
        items is False
        and len(prefix) <= MAX_CONTAINED
        and all(disjoint(a, b, place.context.resolve_wide) for a, b in combinations(prefix, 2))
    ):
        return
    place.leave("uniqueItems")


def _twice(values: list[Any]) -> bool:
    return any(same(a, b) for a, b in combinations(values, 2))


def _ours(name: str) -> str:
    return "fraction" if name == "number" else name
