"""The tools of a request as the model sees them, and what each of them was in the request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgeinfer.chat.tools.tool import (
    TOOL_NAME,
    Tool,
    ToolChoice,
    choose,
    choose_one,
    distinct,
    find_tool,
    function_tool,
)
from edgeinfer.server.responses.schemas.tools import (
    AnyTool,
    CustomTool,
    FunctionTool,
    GrammarToolFormat,
    NamedToolChoice,
    OfferedTool,
    ToolNamespace,
    ToolSelection,
    ToolSubset,
)

INPUT = "input"
"""The only argument of a custom tool."""


class ToolOrigin(msgspec.Struct, frozen=True):
    """What a tool is in the request.

    Attributes:
        is_custom: it takes a text instead of arguments.
    """

    name: str
    namespace: str | None = None
    is_custom: bool = False


class Toolset(msgspec.Struct, frozen=True):
    """The tools that the model may see.

    Attributes:
        origins: by the name that the model knows, which has the namespace before it.
        skipped: kinds of tools that nobody here can run, and names of tools that no model could call.
        unenforced: fields with a grammar that the model is shown, and need not keep to.
    """

    tools: tuple[Tool, ...] = ()
    origins: dict[str, ToolOrigin] = {}
    skipped: tuple[str, ...] = ()
    unenforced: tuple[str, ...] = ()

    def choice(self, selection: ToolSelection, *, parallel: bool) -> ToolChoice:
        """The tools that an answer may call.

        Raises:
            InvalidRequest: the selection names a tool that is not there, or requires a call without any.
        """
        match selection:
            case NamedToolChoice():
                name = full_name(selection.name, selection.namespace)
                return choose_one(self.tools, name, where="tool_choice.name")
            case ToolSubset():
                allowed = set(self._allowed(selection))
                subset = [tool for tool in self.tools if tool.name in allowed]
                return choose(subset, selection.mode, parallel=parallel, where="tool_choice.tools")
            case _:
                return choose(self.tools, selection, parallel=parallel)

    def _allowed(self, subset: ToolSubset) -> Iterator[str]:
        for n, entry in enumerate(subset.tools):
            kind, name, namespace = entry.get("type"), entry.get("name"), entry.get("namespace")
            if kind == "namespace":
                yield from (full for full, origin in self.origins.items() if origin.namespace == name)
            elif kind in ("function", "custom") and isinstance(name, str):
                known = full_name(name, namespace if isinstance(namespace, str) else None)
                yield find_tool(self.tools, known, where=f"tool_choice.tools[{n}].name").name


def full_name(name: str, namespace: str | None) -> str:
    """The name that the model knows a tool by."""
    return f"{namespace}.{name}" if namespace else name


def to_toolset(offered: Sequence[OfferedTool]) -> Toolset:
    """The tools of a request.

    Raises:
        InvalidRequest: a name or a schema cannot be used, or two tools have one name.
    """
    tools: list[Tool] = []
    origins: dict[str, ToolOrigin] = {}
    skipped: list[str] = []
    unenforced: list[str] = []
    for tool, namespace, where in _flattened(offered):
        if not isinstance(tool, FunctionTool | CustomTool):
            skipped.append(tool.type)
            continue
        name = full_name(tool.name, namespace)
        if namespace and not re.fullmatch(TOOL_NAME, name):
            skipped.append(name)
            continue
        tools.append(
            _function(tool, name, where) if isinstance(tool, FunctionTool) else _custom(tool, name, where)
        )
        if isinstance(tool, CustomTool) and _is_lark(tool):
            unenforced.append(f"{where}.format")
        origins[name] = ToolOrigin(tool.name, namespace, isinstance(tool, CustomTool))
    return Toolset(distinct(tools), origins, tuple(dict.fromkeys(skipped)), tuple(unenforced))


def _flattened(offered: Sequence[OfferedTool]) -> Iterator[tuple[AnyTool, str | None, str]]:
    """Each tool with its namespace and its place in the request."""
    for n, (tool, _) in enumerate(offered):
        where = f"tools[{n}]"
        if isinstance(tool, ToolNamespace):
            for m, inner in enumerate(tool.tools):
                yield inner, tool.name, f"{where}.tools[{m}]"
        else:
            yield tool, None, where


def _function(tool: FunctionTool, name: str, where: str) -> Tool:
    fields = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    present = {key: value for key, value in fields.items() if value is not None}
    return function_tool({"name": name, **present}, where=where)


def _is_lark(tool: CustomTool) -> bool:
    return isinstance(tool.format, GrammarToolFormat) and tool.format.syntax == "lark"


def _custom(tool: CustomTool, name: str, where: str) -> Tool:
    """A function with the text as its only argument. Of the grammars, JSON's strings have regular expressions only."""
    text: dict[str, Any] = {"type": "string"}
    description = [tool.description] if tool.description else []
    if isinstance(tool.format, GrammarToolFormat):
        if tool.format.syntax == "regex":
            text["pattern"] = f"^(?:{tool.format.definition})$"
        else:
            description.append(
                f"The input is a text that this Lark grammar describes:\n{tool.format.definition}"
            )
    parameters = {
        "type": "object",
        "properties": {INPUT: text},
        "required": [INPUT],
        "additionalProperties": False,
    }
    function = {"name": name, "description": "\n\n".join(description), "parameters": parameters}
    return function_tool(function, where=where, schema="format.definition")
