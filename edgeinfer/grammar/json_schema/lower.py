"""A JSON schema as a grammar that llguidance does take."""

from __future__ import annotations

import re
import time
from typing import Any

from edgeinfer.errors import GrammarTooComplex, InvalidRequest, UnsupportedSchema
from edgeinfer.grammar.json_schema.emitter import Emission
from edgeinfer.grammar.json_schema.keywords import pointer
from edgeinfer.grammar.json_schema.normalizer import Reduction
from edgeinfer.grammar.json_schema.references import References
from edgeinfer.grammar.json_schema.strictness import closed
from edgeinfer.grammar.matcher import overlap, stuck

REPAIRS = {
    "min/maxProperties": ("minProperties", "maxProperties"),
    "regex is empty": ("pattern",),
    "disjoint": ("patternProperties",),
}
"""What llguidance says of combinations that it cannot join -> what to leave to the check of finished answers."""

MAX_REPAIRS = 4

SEARCH = 0.2
"""Seconds that may be spent on finding out where in a schema the trouble lies, each time."""

DEAD = re.compile(r"Unsatisfiable schema:.*?while processing \S*#/\$defs/(\w+)", re.DOTALL)
MAX_DEAD = 16

LIMIT = re.compile("too (large|big|many|complex)|limit|fuel|exceeded|stack level", re.IGNORECASE)


def enforced(source: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The grammar, and JSON pointers of what it does not enforce. Raises InvalidRequest."""
    source = closed(source)
    without: set[tuple[str, str]] = set()
    piece, reduction, error = attempt(source, "", without)
    for _ in range(MAX_REPAIRS):
        if error is None:
            break
        found = culprit(source, without)
        repair = next((keywords for words, keywords in REPAIRS.items() if words in error.message), None)
        if repair is None:
            error.message = f"at {found or 'the root'}: {error.message}"
            raise error
        # If that does not help, it stands behind a reference: then it is left out everywhere.
        at = "" if any(keyword in repair for _, keyword in without) else found
        without |= {(at, keyword) for keyword in repair}
        piece, reduction, error = attempt(source, "", without)
    if error is not None:
        error.message = f"at the root: {error.message}"
        raise error
    if reduction.unenforced and reduction.uncheckable:
        raise UnsupportedSchema(
            f"at {reduction.uncheckable[0]}: Python cannot read the expression, as it would have to in order to check "
            f"finished answers for {reduction.unenforced[0]}"
        )
    return piece, reduction.unenforced


def attempt(
    source: Any, at: str, without: set[tuple[str, str]]
) -> tuple[dict[str, Any], Reduction, InvalidRequest | None]:
    """The schema at a pointer, compiled, and what llguidance has against it."""
    for formats in (True, False):  # a format is a remark: rather none than one that contradicts the rest
        reduction = Reduction(source, overlap, at, formats, without)
        piece, error = emitted(reduction)
        if error is None or not reduction.formatted:
            break
    return piece, reduction, error


def emitted(reduction: Reduction) -> tuple[dict[str, Any], InvalidRequest | None]:
    """As llguidance takes it, without the definitions that it finds to be unsatisfiable."""
    dead: set[str] = set()
    while True:
        schema = Emission(reduction, dead).json_schema()
        if schema is None:
            return {}, UnsupportedSchema("no value satisfies the schema")
        piece = {"json_schema": schema}
        words = stuck({"name": "part", **piece})
        found = DEAD.search(words or "")
        if found is None or found[1] in dead or len(dead) == MAX_DEAD:
            return piece, refused(words, UnsupportedSchema) if words else None
        dead.add(found[1])


def culprit(source: Any, without: set[tuple[str, str]]) -> str:
    """A pointer to a schema that fails although none within it does; the search is bounded."""
    found, seen, end = "", {""}, time.monotonic() + SEARCH
    todo = places(source, "")
    while todo and time.monotonic() < end:
        at = todo.pop(0)
        if at not in seen and attempt(source, at, without)[2] is not None:
            found, todo = at, places(source, at)
        seen.add(at)
    return found


def places(source: Any, at: str) -> list[str]:
    """The schemas right below one."""
    references = References(source)
    raw = references.at(at)
    found = []
    for keyword, value in raw.items() if isinstance(raw, dict) else ():
        if keyword == "$ref":
            found.append(references.resolve(raw, value, at)[0])
        elif keyword in ("properties", "patternProperties"):
            found += [pointer(at, keyword, name) for name, schema in value.items() if schema is not False]
        elif keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
            found += [pointer(at, keyword, n) for n in range(len(value))]
        elif keyword in ("items", "additionalProperties", "contains") and isinstance(value, dict):
            found.append(pointer(at, keyword))
    return found


def refused(error: str, kind: type[InvalidRequest] = InvalidRequest) -> InvalidRequest:
    """llguidance's words as an error."""
    words = " ".join(error.partition("<state>")[0].split())[:300]
    if "NoExtension" in words or "nsatisfiable" in words or words.startswith("nothing"):
        return kind(f"nothing can match it: {words}")
    if LIMIT.search(words):
        return GrammarTooComplex(f"it is too complex: {words}", hint="use a smaller schema or grammar")
    return kind(f"it is not supported: {words}")
