"""Collects the properties that a schema evaluates; unevaluatedProperties applies to the others."""

from __future__ import annotations

from typing import Any

from edgeinfer.grammar.json_schema.keywords import effective_keywords, pointer
from edgeinfer.grammar.json_schema.schema_node import SchemaContext

CONDITIONAL_KEYWORDS = ("anyOf", "oneOf", "if", "then", "else", "dependentSchemas")


class EvaluatedProperties:
    """The properties evaluated by one schema and the schemas that it applies to the same value.

    Attributes:
        properties: their names. A dict for its order.
        patterns: patterns of further names.
        all_evaluated: some schema evaluates all other properties.
        conditional: some properties are evaluated only under a condition.
    """

    def __init__(self, context: SchemaContext) -> None:
        self.properties: dict[str, None] = {}
        self.patterns: dict[str, None] = {}
        self.all_evaluated = False
        self.conditional = False
        self._context = context
        self._visited: set[str] = set()

    def collect(self, raw: Any, path: str) -> None:
        """Add the properties that `raw` evaluates; the first schema's own unevaluatedProperties does not count."""
        is_first = not self._visited
        if path in self._visited or not isinstance(raw, dict):
            return
        self._visited.add(path)
        keywords = effective_keywords(raw, path, self._context.draft)
        self.properties.update(dict.fromkeys(keywords.get("properties", ())))
        self.patterns.update(dict.fromkeys(keywords.get("patternProperties", ())))
        catch_all = (
            ("additionalProperties",) if is_first else ("additionalProperties", "unevaluatedProperties")
        )
        if any(keywords.get(keyword, False) is not False for keyword in catch_all):
            self.all_evaluated = True
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if keyword in keywords:
                target_path, target = self._context.locate(raw, keywords[keyword], pointer(path, keyword))
                self.collect(target, target_path)
        for n, schema in enumerate(keywords.get("allOf", ())):
            self.collect(schema, pointer(path, "allOf", n))
        for keyword in CONDITIONAL_KEYWORDS:
            if keyword in keywords:
                self._collect_conditional(keywords[keyword], pointer(path, keyword))

    def _collect_conditional(self, value: Any, path: str) -> None:
        num_before, all_before = len(self.properties) + len(self.patterns), self.all_evaluated
        self.all_evaluated = False
        schemas = value if isinstance(value, list) else [value]
        if path.endswith("/dependentSchemas"):
            schemas = list(value.values())
        for n, schema in enumerate(schemas):
            self.collect(schema, f"{path}/{n}")
        if self.all_evaluated or num_before < len(self.properties) + len(self.patterns):
            self.conditional = True
        self.all_evaluated = all_before
