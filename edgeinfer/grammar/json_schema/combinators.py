"""References, and schemas of schemas."""

from __future__ import annotations

from edgeinfer.grammar.json_schema.core import FUEL, Core, Resolve, all_of, any_of, negations
from edgeinfer.grammar.json_schema.disjoint import disjoint
from edgeinfer.grammar.json_schema.intersection import join
from edgeinfer.grammar.json_schema.keywords import in_force, pointer
from edgeinfer.grammar.json_schema.schema_node import Place

MAX_APART = 32
"""Alternatives that it may take to keep one option of a oneOf apart from the others."""

MAX_PRODUCT = 8
"""Combinations of alternatives that are left to llguidance."""

OBJECT = {
    "properties",
    "patternProperties",
    "additionalProperties",
    "required",
    "minProperties",
    "maxProperties",
}

MAX_COMPARED = 200
"""Options of a oneOf that are compared with each other."""


def logic(place: Place) -> None:
    context, keywords = place.context, place.keywords
    for keyword in keywords:
        if keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            place.parts.append(context.refer(place.raw, keywords[keyword], pointer(place.at, keyword)))
        elif keyword == "allOf":
            _all_of(place)
        elif keyword == "anyOf":
            place.parts.append(any_of([place.reduce("anyOf", n) for n in range(len(keywords["anyOf"]))]))
        elif keyword == "oneOf":
            place.parts.append(_one_of(place))
        elif keyword == "not":
            _not(place)
        elif keyword == "if":
            _conditional(place)


def _all_of(place: Place) -> None:
    parts = [place.reduce("allOf", n) for n in range(len(place.get("allOf")))]
    choices = [part for part in parts if isinstance(part, dict) and part.keys() == {"anyOf"}]
    product = 1
    for n, part in enumerate(parts):
        if len(choices) > 1 and isinstance(part, dict) and part in choices:
            # Several conditions on one property are few cases together, and very many one by one.
            if place.chosen(part["anyOf"]):
                continue
            product *= len(part["anyOf"])
            if product > MAX_PRODUCT:
                place.leave("allOf", n)
                continue
        place.parts.append(part)


def _one_of(place: Place) -> Core:
    """As anyOf, where no two options can hold at once or they can be kept apart."""
    before = place.context.strengthened
    options = [place.reduce("oneOf", n) for n in range(len(place.get("oneOf")))]
    wide = place.context.strengthened == before
    options = [option for option in options if option is not False]
    narrowed = _apart(place, options) if wide and len(options) <= MAX_COMPARED else None
    if narrowed is None:
        place.leave("oneOf")
        return any_of(options)
    return any_of(narrowed)


def _apart(place: Place, options: list[Core]) -> list[Core] | None:
    """The options, each narrowed to where no other holds; None where that cannot be said."""
    resolve = place.context.resolve_wide
    here: Core = place.own
    if sum(_of_objects(option, resolve) for option in options) > 1:
        # These hold of all that is no object, so that of such a value more than one does.
        here = join(here, {"type": ["object"]}, resolve)
        place.parts.append({"type": ["object"]})
    views = [join(here, _followed(option, resolve), resolve) for option in options]
    overlaps = [
        [
            other
            for other, theirs in zip(options, views, strict=True)
            if theirs is not mine and not disjoint(mine, theirs, resolve)
        ]
        for mine in views
    ]
    if sum(map(len, overlaps)) > 2 * MAX_APART:
        return None
    found = []
    for option, view, others in zip(options, views, overlaps, strict=True):
        narrowed = option if not others else _without(place, option, view, others)
        if narrowed is None:
            return None
        found.append(narrowed)
    return found


def _of_objects(option: Core, resolve: Resolve) -> bool:
    """It says something of objects, and nothing of other values."""
    followed = _followed(option, resolve)
    return isinstance(followed, dict) and followed.keys() <= OBJECT


def _followed(core: Core, resolve: Resolve) -> Core:
    """What a mere reference leads to."""
    for _ in range(FUEL):
        if isinstance(core, bool) or core.keys() != {"$ref"}:
            break
        core = resolve(core["$ref"])
    return core


def _without(place: Place, option: Core, view: Core, others: list[Core]) -> Core | None:
    """`option` where none of `others` holds; None where that cannot be said."""
    parts = [option]
    cases = 1
    for other in others:
        nots = negations(other, place.context.resolve_exactly)
        if nots is None:
            return None
        nots = [no for no in nots if not disjoint(no, view, place.context.resolve_exactly)]
        cases *= len(nots)
        if cases > MAX_APART:
            return None
        parts.append(any_of(nots))
    return all_of(parts)


def _not(place: Place) -> None:
    twice = place.get("not")
    if isinstance(twice, dict) and in_force(twice, "", place.context.draft).keys() == {"not"}:
        place.parts.append(place.reduce("not", "not"))
        return
    before = place.context.changes
    wrong = place.reduce("not")
    options = negations(wrong, place.context.resolve_exactly)
    if options is None or place.context.changes != before:
        place.leave("not")
    else:
        place.choose(options, "not")


def _conditional(place: Place) -> None:
    before = place.context.changes
    condition = place.reduce("if")
    exact = place.context.changes == before
    then = place.reduce("then") if "then" in place.keywords else True
    otherwise = place.reduce("else") if "else" in place.keywords else True
    if then is True and otherwise is True:
        return
    options = negations(condition, place.context.resolve_exactly)
    if options is None or not exact:
        place.leave("if")
    else:
        place.choose([all_of([condition, then]), *(all_of([no, otherwise]) for no in options)], "if")
