"""Which properties a schema and those in place beside it speak of: what unevaluatedProperties leaves over."""

from __future__ import annotations

from typing import Any

from edgeinfer.grammar.json_schema.keywords import in_force, pointer
from edgeinfer.grammar.json_schema.schema_node import Context

CONDITIONAL = ("anyOf", "oneOf", "if", "then", "else", "dependentSchemas")


class Names:
    """A collection.

    Attributes:
        properties, patterns: that are spoken of.
        open: all others are spoken of too.
        uncertain: some only under a condition.
    """

    def __init__(self, context: Context) -> None:
        self.properties: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.open = False
        self.uncertain = False
        self._context = context
        self._seen: set[str] = set()

    def add(self, raw: Any, at: str) -> None:
        """What `raw` speaks of; not by its own unevaluatedProperties where it is the one asked for."""
        own = not self._seen
        if at in self._seen or not isinstance(raw, dict):
            return
        self._seen.add(at)
        keywords = in_force(raw, at, self._context.draft)
        self.properties.update(dict.fromkeys(keywords.get("properties", ())))
        self.patterns.update(dict.fromkeys(keywords.get("patternProperties", ())))
        closing = ("additionalProperties",) if own else ("additionalProperties", "unevaluatedProperties")
        if any(keywords.get(keyword, False) is not False for keyword in closing):
            self.open = True
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if keyword in keywords:
                there, target = self._context.locate(raw, keywords[keyword], pointer(at, keyword))
                self.add(target, there)
        for n, part in enumerate(keywords.get("allOf", ())):
            self.add(part, pointer(at, "allOf", n))
        for keyword in CONDITIONAL:
            if keyword in keywords:
                self._condition(keywords[keyword], pointer(at, keyword))

    def _condition(self, value: Any, at: str) -> None:
        known = len(self.properties) + len(self.patterns), self.open
        self.open = False
        schemas = value if isinstance(value, list) else [value]
        if at.endswith("/dependentSchemas"):
            schemas = list(value.values())
        for n, schema in enumerate(schemas):
            self.add(schema, f"{at}/{n}")
        if self.open or known[0] < len(self.properties) + len(self.patterns):
            self.uncertain = True
        self.open = known[1]
