"""References, and schemas of schemas."""

from __future__ import annotations

from edgeinfer.grammar.core import Core, all_of, any_of, negations
from edgeinfer.grammar.disjoint import disjoint
from edgeinfer.grammar.keywords import in_force, pointer
from edgeinfer.grammar.place import Place

MAX_APART = 32
"""Alternatives that it may take to keep one option of a oneOf apart from the others."""

MAX_PRODUCT = 8
"""Combinations of alternatives that are left to llguidance."""

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
    if not wide or len(options) > MAX_COMPARED:
        place.leave("oneOf")
        return any_of(options)
    apart = [[o for o in options if o is not one and not _apart(place, one, o)] for one in options]
    if sum(map(len, apart)) > 2 * MAX_APART:
        place.leave("oneOf")
        return any_of(options)
    narrowed = [_without(place, one, others) for one, others in zip(options, apart, strict=True)]
    if None in narrowed:
        place.leave("oneOf")
        return any_of(options)
    return any_of([option for option in narrowed if option is not None])


def _apart(place: Place, a: Core, b: Core) -> bool:
    resolve = place.context.resolve_wide
    return disjoint(all_of([place.own, a]), all_of([place.own, b]), resolve)


def _without(place: Place, option: Core, others: list[Core]) -> Core | None:
    """`option` where none of `others` holds; None where that cannot be said."""
    resolve = place.context.resolve_exactly
    parts = [option]
    cases = 1
    for other in others:
        nots = negations(other, resolve)
        if nots is None:
            return None
        nots = [no for no in nots if not disjoint(no, all_of([place.own, option]), resolve)]
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
