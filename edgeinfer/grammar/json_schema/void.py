"""Says why a schema allows no value, where its own keywords show it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MAX_NAME = 100
"""Characters of a property's name in a message."""


def void_reason(schema: Any) -> str | None:
    """The reason in a sentence; None if it lies deeper."""
    return next(_reasons(schema), None)


def _reasons(schema: Any) -> Iterator[str]:
    if schema is False:
        yield "the schema is false, which allows no value"
    if not isinstance(schema, dict):
        return
    if schema.get("enum") == []:
        yield "enum is empty, which allows no value"
    properties = schema.get("properties", {})
    closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    for name in schema.get("required", ()):
        if properties.get(name) is False:
            yield f"the property {name[:MAX_NAME]!r} is required, and its schema is false, which allows no value"
        elif name not in properties and closed:
            yield (
                f"the property {name[:MAX_NAME]!r} is required, but not allowed: describe it in properties, "
                "or take it out of required"
            )
