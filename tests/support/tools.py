"""Tools for tests, written as OpenAI's clients write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgeinfer.chat.tools.tool import Tool, distinct, function_tool


def read_tools(definitions: Iterable[Mapping[str, Any]]) -> tuple[Tool, ...]:
    functions = (definition["function"] for definition in definitions)
    return distinct(function_tool(f, where=f"tools[{n}].function") for n, f in enumerate(functions))
