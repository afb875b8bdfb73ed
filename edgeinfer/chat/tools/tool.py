"""The tools that a request offers, and which of them an answer may call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from edgeinfer.errors import InvalidRequest

TOOL_NAME = r"^[a-zA-Z0-9_.-]{1,128}$"
"""A tool's name, as a regular expression of JSON Schema."""

NULLABLE = frozenset({"properties", "required"})
"""Keywords that count as absent where they are null: Go writes a map or list that nobody has made so."""

COMPOSED = frozenset(
    {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "dependentSchemas", "const", "enum"}
)
"""Keywords with which closing an object could leave it without any valid value."""

ToolMode = Literal["none", "auto", "required"]


class Tool(msgspec.Struct, frozen=True):
    """A function that the caller offers.

    Attributes:
        parameters: a JSON schema of an object, to which calls are held.
        definition: the tool as templates know it, in OpenAI's form.
        param: the field of the request that holds `parameters`, for errors: "tools[0].function.parameters".
        name_param: the field that holds `name`.
    """

    name: str
    parameters: Mapping[str, Any]
    definition: Mapping[str, Any]
    param: str
    name_param: str


class ToolChoice(msgspec.Struct, frozen=True):
    """Which tools an answer may call.

    Attributes:
        required: it must call one.
        parallel: it may call several.
    """

    tools: tuple[Tool, ...] = ()
    required: bool = False
    parallel: bool = True


def function_tool(function: Mapping[str, Any], *, where: str, schema: str = "parameters") -> Tool:
    """A tool from a function's `name`, `description` and `parameters`.

    `where` is the function's place in the request, and `schema` the name that its parameters have there.

    Raises:
        InvalidRequest: the name or the parameters cannot be used.
    """
    name, param, name_param = function["name"], f"{where}.{schema}", f"{where}.name"
    if not re.fullmatch(TOOL_NAME, name):
        raise InvalidRequest(
            "a tool's name consists of up to 128 letters, digits, dots, underscores and dashes",
            param=name_param,
        )
    if "parameters" in function:
        function = {**function, "parameters": _without_nulls(function["parameters"])}
    definition = {"type": "function", "function": function}
    return Tool(name, _closed(function.get("parameters"), param), definition, param, name_param)


def _without_nulls(schema: Any) -> Any:
    """The schema of an object without the keywords in NULLABLE that are null, and so those of its values."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if value is not None or key not in NULLABLE}
    if isinstance(properties := kept.get("properties"), dict):
        kept["properties"] = {name: _without_nulls(value) for name, value in properties.items()}
    if "items" in kept:
        kept["items"] = _without_nulls(kept["items"])
    return kept


def distinct(tools: Iterable[Tool]) -> tuple[Tool, ...]:
    """The tools. Raises InvalidRequest if two have one name: a call could not say which it means."""
    by_name: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in by_name:
            raise InvalidRequest(f"two tools are named {tool.name!r}", param=tool.name_param)
        by_name[tool.name] = tool
    return tuple(by_name.values())


def choose(
    tools: Sequence[Tool], mode: ToolMode = "auto", *, parallel: bool = True, where: str = "tool_choice"
) -> ToolChoice:
    """The choice that a mode means. Raises InvalidRequest if a call is required and there are no tools."""
    if mode == "required" and not tools:
        raise InvalidRequest("a call is required, but there are no tools", param=where)
    return ToolChoice(() if mode == "none" else tuple(tools), mode == "required", parallel)


def choose_one(tools: Sequence[Tool], name: str, *, where: str) -> ToolChoice:
    """The choice of a single call of this tool. Raises InvalidRequest if there is no such tool."""
    return ToolChoice((find_tool(tools, name, where=where),), required=True, parallel=False)


def find_tool(tools: Sequence[Tool], name: str, *, where: str) -> Tool:
    """The tool with this name. Raises InvalidRequest if there is none; `where` is the name's field."""
    for tool in tools:
        if tool.name == name:
            return tool
    raise InvalidRequest(f"there is no tool {name!r}", param=where)


def _closed(schema: Any, param: str) -> Mapping[str, Any]:
    """The schema, closed: a model is not to make up arguments that the tool never named.

    A property is named by being described, or by being required. A schema that describes none and doesn't say that
    it is complete stays open, and so does one that closing could leave without any valid value.
    """
    if schema is None or schema == {}:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    if error := _form_error(schema, param):
        raise error
    open_schema: dict[str, Any] = {"type": "object", **schema}
    if "properties" not in schema or "additionalProperties" in schema or COMPOSED & schema.keys():
        return open_schema
    described = schema["properties"]
    properties = {**described, **{name: {} for name in _required(schema) if name not in described}}
    least = schema.get("minProperties", 0)
    if isinstance(least, int) and least > len(properties):
        return open_schema
    return {**open_schema, "properties": properties, "additionalProperties": False}


def _required(schema: Mapping[str, Any]) -> Iterator[str]:
    """The names of properties that must be there, always or beside others."""
    yield from schema.get("required", ())
    for keyword in ("dependentRequired", "dependencies"):
        dependent = schema.get(keyword)
        for names in dependent.values() if isinstance(dependent, dict) else ():
            yield from (name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def _form_error(schema: Any, param: str) -> InvalidRequest | None:
    """Check the keywords that are read here."""
    what = "a tool's parameters must be the JSON schema of an object"
    if not isinstance(schema, dict):
        return InvalidRequest(what, param=param)
    kind = schema.get("type", "object")
    if kind != "object":
        is_capital = isinstance(kind, str) and kind.lower() == "object"
        hint = '"object" is written in lower case' if is_capital else 'write "type": "object"'
        return InvalidRequest(what, param=param, hint=hint)
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return InvalidRequest(
            "the required properties of a tool must be a list of names",
            param=param,
        )
    if not isinstance(schema.get("properties", {}), dict):
        return InvalidRequest(
            "the properties of a tool must be an object of schemas",
            param=param,
        )
    return None
