"""Grammars and a thinking budget for tests of constrained answers."""

from __future__ import annotations

import json
from typing import Any

from edgeinfer.inference.structured_output import ThinkingBudget

PERSON: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "age", "tags"],
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "maxItems": 9, "items": {"enum": ["red", "green", "blue"]}},
    },
}
STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def grammar(lark: str = "start: @answer", schema: dict[str, Any] | None = None) -> str:
    given = {**(schema or PERSON), "x-guidance": STYLE}
    parts = [{"name": "answer", "json_schema": given}] if "@answer" in lark else []
    return json.dumps({"grammars": [{"name": "main", "lark_grammar": lark}, *parts]})


THOUGHT = r"""
start: thought /\n{0,2}/ @answer
thought[lazy]: /(.|\n)*<\/think>/
"""
BUDGET = ThinkingBudget(10, True, "<think>", "</think>", "\n</think>\n\n")
