"""What a model may call: a caller's tools, and which of them it chose for an answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from edgeinfer.errors import InvalidRequest

NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")

COMPOSED = frozenset(
    {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "dependentSchemas", "const", "enum"}
)
"""Keywords beside which closing an object could leave it without any valid value."""


class Tool(msgspec.Struct, frozen=True):
    """A function the caller offers.

    Attributes:
        parameters: a JSON schema of an object.
        param: where it stands in the request, for errors: "tools[0].function.parameters".
    """

    name: str
    parameters: dict[str, Any]
    param: str


class Choice(msgspec.Struct, frozen=True):
    """Which tools an answer may call; `required`: it must call one; `parallel`: it may call several."""

    tools: tuple[Tool, ...]
    required: bool = False
    parallel: bool = True


def read_tools(tools: Sequence[Any]) -> tuple[Tool, ...]:
    """OpenAI's `tools`. Raises InvalidRequest for what is none, and for a name that is taken."""
    found: dict[str, Tool] = {}
    for n, given in enumerate(tools):
        tool = _tool(given, f"tools[{n}]")
        if tool.name in found:
            raise InvalidRequest(f"two tools are named {tool.name!r}", param=f"tools[{n}].function.name")
        found[tool.name] = tool
    return tuple(found.values())


def choose(tools: Sequence[Tool], choice: Any = None, parallel: bool = True) -> Choice:
    """OpenAI's `tool_choice`: a mode, one function, or a mode and the functions allowed.

    Raises InvalidRequest for a choice that is malformed, or of what is not among the tools.
    """
    if choice is None or isinstance(choice, str):
        return _mode(tools, choice or "auto", parallel, "tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        chosen = _named(tools, choice, "tool_choice")
        return Choice((chosen,), required=True, parallel=False)
    if kind == "allowed_tools":
        where = "tool_choice.allowed_tools"
        given = choice.get("allowed_tools")
        listed = given.get("tools") if isinstance(given, dict) else None
        if not isinstance(listed, list) or not listed or given.get("mode") not in ("auto", "required"):
            raise InvalidRequest("allowed_tools needs a mode, auto or required, and tools", param=where)
        allowed = [_named(tools, one, f"{where}.tools[{n}]").name for n, one in enumerate(listed)]
        subset = [tool for tool in tools if tool.name in allowed]
        return _mode(subset, given["mode"], parallel, where)
    raise InvalidRequest(
        "tool_choice must be none, auto, required, a function or allowed_tools", param="tool_choice"
    )


def _mode(tools: Sequence[Tool], mode: Literal["none"] | str, parallel: bool, where: str) -> Choice:
    if mode not in ("none", "auto", "required"):
        raise InvalidRequest(f"unknown mode {mode!r}: it is none, auto or required", param=where)
    if mode == "required" and not tools:
        raise InvalidRequest("a call is required, but there are no tools", param=where)
    return Choice(() if mode == "none" else tuple(tools), mode == "required", parallel)


def _named(tools: Sequence[Tool], reference: Any, where: str) -> Tool:
    function = reference.get("function") if isinstance(reference, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    for tool in tools:
        if tool.name == name:
            return tool
    raise InvalidRequest(f"there is no tool {name!r}", param=f"{where}.function.name")


def _tool(tool: Any, where: str) -> Tool:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or tool.get("type", "function") != "function":
        raise InvalidRequest("a tool must be of type function", param=where)
    name = function.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidRequest(
            "a tool's name is up to 64 letters, digits, dots, underscores and dashes",
            param=f"{where}.function.name",
        )
    return Tool(name, _parameters(function.get("parameters"), where), f"{where}.function.parameters")


def _parameters(schema: Any, where: str) -> dict[str, Any]:
    """The schema, closed: a model is not to make up arguments that the tool never named.

    A schema that names none and doesn't say that it is complete stays open, and so does a composed one.
    """
    if schema is None or schema == {}:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    if not _describes_object(schema):
        raise InvalidRequest(
            "a tool's parameters must be the JSON schema of an object", param=f"{where}.function.parameters"
        )
    closed = {"type": "object", **schema}
    if "properties" in closed and "additionalProperties" not in closed and not COMPOSED & closed.keys():
        closed["additionalProperties"] = False
    return closed


def _describes_object(schema: Any) -> bool:
    """As far as we read it ourselves."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return False
    required = schema.get("required", [])
    named = isinstance(required, list) and all(isinstance(name, str) for name in required)
    return named and isinstance(schema.get("properties", {}), dict)
