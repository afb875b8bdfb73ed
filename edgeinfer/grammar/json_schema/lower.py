"""Lowers a JSON schema to one that llguidance accepts, and leaves to a later check what it cannot enforce."""

from __future__ import annotations

import re
import time
from typing import Any

from edgeinfer.errors import GrammarTooComplex, InvalidRequest, UnsupportedSchema
from edgeinfer.grammar.json_schema.emitter import Emitter
from edgeinfer.grammar.json_schema.keywords import location, pointer
from edgeinfer.grammar.json_schema.normalizer import Normalizer
from edgeinfer.grammar.json_schema.references import ReferenceIndex
from edgeinfer.grammar.json_schema.strictness import make_strict
from edgeinfer.grammar.json_schema.void import void_reason
from edgeinfer.grammar.limits import SIMPLIFY_HINT
from edgeinfer.grammar.matcher import NO_TEXT_MATCHES, find_dead_end, patterns_overlap

REPAIRS = {
    "min/maxProperties": ("minProperties", "maxProperties"),
    "regex is empty": ("pattern",),
    "disjoint": ("patternProperties",),
}
"""llguidance's complaint about keywords it cannot combine -> keywords to leave to the check of finished answers."""

MAX_REPAIRS = 4

MAX_SEARCH_SECONDS = 0.2
"""Time for each search for the part of a schema that causes an error."""

UNSATISFIABLE_DEFINITION = re.compile(
    r"Unsatisfiable schema:.*?while processing \S*#/\$defs/(\w+)", re.DOTALL
)
MAX_UNSATISFIABLE = 16

LIMIT_EXCEEDED = re.compile("too (large|big|many|complex)|limit|fuel|exceeded|stack level", re.IGNORECASE)

MAX_MESSAGE_LENGTH = 300


NO_VALUE = "no value satisfies the schema"


def lower(schema: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an entry of llguidance's `grammars`, and JSON pointers of what it does not enforce.

    Raises InvalidRequest.
    """
    schema = make_strict(schema)
    omitted: set[tuple[str, str]] = set()
    entry, normalizer, error = try_lower(schema, "", omitted)
    for _ in range(MAX_REPAIRS):
        if error is None:
            break
        culprit = find_culprit(schema, omitted)
        repair = next((keywords for words, keywords in REPAIRS.items() if words in error.message), None)
        if repair is None:
            reason = void_reason(ReferenceIndex(schema).at(culprit)) if error.message == NO_VALUE else None
            error.message = f"{location(culprit)}: {reason or error.message}"
            raise error
        # If that does not help, the culprit is behind a reference: then the keywords are left out everywhere.
        path = "" if any(keyword in repair for _, keyword in omitted) else culprit
        omitted |= {(path, keyword) for keyword in repair}
        entry, normalizer, error = try_lower(schema, "", omitted)
    if error is not None:
        error.message = f"{location('')}: {error.message}"
        raise error
    if normalizer.unenforced and normalizer.uncheckable:
        raise UnsupportedSchema(
            f"{location(normalizer.uncheckable[0])}: Python cannot read this regular expression, which is needed to "
            f"check finished answers for {normalizer.unenforced[0]}"
        )
    return entry, normalizer.unenforced


def try_lower(
    schema: Any, path: str, omitted: set[tuple[str, str]]
) -> tuple[dict[str, Any], Normalizer, InvalidRequest | None]:
    """Lower the schema at a path, and return llguidance's objection, if any, as an error."""
    for enforce_formats in (True, False):  # no format is better than one that contradicts the rest
        normalizer = Normalizer(schema, patterns_overlap, path, enforce_formats, omitted)
        entry, error = emit_satisfiable(normalizer)
        if error is None or not normalizer.has_formats:
            break
    return entry, normalizer, error


def emit_satisfiable(normalizer: Normalizer) -> tuple[dict[str, Any], InvalidRequest | None]:
    """Emit a schema without the definitions that llguidance finds unsatisfiable."""
    unsatisfiable: set[str] = set()
    while True:
        schema = Emitter(normalizer, unsatisfiable).json_schema()
        if schema is None:
            return {}, UnsupportedSchema(NO_VALUE)
        entry = {"json_schema": schema}
        message = find_dead_end({"name": "schema", **entry})
        match = UNSATISFIABLE_DEFINITION.search(message or "")
        if match is None or match[1] in unsatisfiable or len(unsatisfiable) == MAX_UNSATISFIABLE:
            return entry, to_error(message, UnsupportedSchema) if message else None
        unsatisfiable.add(match[1])


def find_culprit(schema: Any, omitted: set[tuple[str, str]]) -> str:
    """Return the path of a schema that fails although none within it does; the search takes bounded time."""
    culprit, visited, deadline = "", {""}, time.monotonic() + MAX_SEARCH_SECONDS
    queue = subschema_paths(schema, "")
    while queue and time.monotonic() < deadline:
        path = queue.pop(0)
        if path not in visited and try_lower(schema, path, omitted)[2] is not None:
            culprit, queue = path, subschema_paths(schema, path)
        visited.add(path)
    return culprit


def subschema_paths(schema: Any, path: str) -> list[str]:
    """Return the paths of the schemas directly below one."""
    references = ReferenceIndex(schema)
    raw = references.at(path)
    paths = []
    for keyword, value in raw.items() if isinstance(raw, dict) else ():
        if keyword == "$ref":
            paths.append(references.resolve(raw, value, path)[0])
        elif keyword in ("properties", "patternProperties"):
            paths += [pointer(path, keyword, name) for name, child in value.items() if child is not False]
        elif keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
            paths += [pointer(path, keyword, n) for n in range(len(value))]
        elif keyword in ("items", "additionalProperties", "contains") and isinstance(value, dict):
            paths.append(pointer(path, keyword))
    return paths


def to_error(message: str, error_class: type[InvalidRequest] = InvalidRequest) -> InvalidRequest:
    """Turn llguidance's message into an error."""
    noun = "schema" if error_class is UnsupportedSchema else "grammar"
    words = " ".join(message.partition("<state>")[0].split())[:MAX_MESSAGE_LENGTH]
    if message == NO_TEXT_MATCHES:
        return error_class(f"no answer can match the {noun}")
    if "NoExtension" in words or "nsatisfiable" in words:
        return error_class(f"no answer can match the {noun}: {words}")
    if LIMIT_EXCEEDED.search(words):
        return GrammarTooComplex(f"the {noun} is too complex: {words}", hint=SIMPLIFY_HINT)
    return error_class(f"the {noun} is not supported: {words}")
