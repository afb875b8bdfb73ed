"""The grammar of an answer that may call tools, in llguidance's Lark."""

from __future__ import annotations

from typing import Any

from edgeinfer.chat.lark import ANY, literal, one_of, pattern, starting, without
from edgeinfer.chat.tools.tool import Tool, ToolChoice
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.grammar.source import GrammarSource

Rules = tuple[list[str], list[GrammarSource]]
"""Rules of a grammar, one of them called `answer`, and the parts they refer to."""


def tool_rules(tool_format: ToolFormat, choice: ToolChoice, text_rule: str | None, *excluded: str) -> Rules:
    """An answer of calls, of text, or of text and then calls.

    `text_rule` is a rule for text that is not free; it stands instead of calls, never before them. Free text
    matches none of the `excluded` patterns.
    """
    lead = f"{literal(tool_format.lead)} " if tool_format.lead else ""
    if not choice.tools:
        if text_rule is not None:
            return [f"answer: {lead}{text_rule}"], []
        called = (
            f"{ANY}{pattern(tool_format.trigger)}{ANY}"
            if tool_format.trigger
            else starting(tool_format.openings)
        )
        return [f"answer: {lead}TEXT", _text(*excluded, called)], []
    again = (
        f" ({literal(tool_format.next)} call)*" if tool_format.next is not None and choice.parallel else ""
    )
    opened = "" if tool_format.begun else one_of(tool_format.openings) if tool_format.trigger else "OPENING"
    if text_rule is not None and not choice.required and not tool_format.trigger:
        return _json_or_calls(tool_format, choice, text_rule)
    bodies = [_body(tool_format, tool, n) for n, tool in enumerate(choice.tools)]
    lines = [
        f"opened: {opened} calls",
        f"calls: call{again} {literal(tool_format.end)}",
        f"call: {' | '.join(head for head, _, _ in bodies)}",
        *(line for _, lines, _ in bodies for line in lines),
    ]
    if choice.required:
        answer = ["answer: opened"]
    elif text_rule is not None:
        answer = [f"answer: {lead}{text_rule} | opened"]
    elif tool_format.trigger:
        answer = _text_then_calls(tool_format, lead, excluded)
    else:
        answer = ["answer: TEXT | opened", _text(*excluded, starting(tool_format.openings))]
    if (
        not tool_format.trigger
    ):  # with the white space that may follow thoughts: one lexeme, or TEXT would take that
        lines.append(rf"OPENING: /\n{{0,2}}({'|'.join(map(pattern, tool_format.openings))})/")
    return [*answer, *lines], [part for _, _, parts in bodies for part in parts]


def _text_then_calls(tool_format: ToolFormat, lead: str, excluded: tuple[str, ...]) -> list[str]:
    """Free text up to the trigger, and from there on a call and nothing else."""
    rest = [opening.removeprefix(tool_format.trigger) for opening in tool_format.openings]
    parts = f"TEXT | head {one_of(rest) if any(rest) else ''} calls"
    return [
        f"answer: {lead}({parts}) | opened" if lead else f"answer: {parts}",
        _text(*excluded),
        "head[lazy]: HEAD",
        f"HEAD: /{ANY}{pattern(tool_format.trigger)}/{without(*excluded)}",
    ]


def _json_or_calls(tool_format: ToolFormat, choice: ToolChoice, text_rule: str) -> Rules:
    """The rules where calls are bare JSON and so is the text: only their schemas tell them apart."""
    parts = [
        GrammarSource(f"t{n}", "json_schema", _call_schema(tool_format, tool), tool.param)
        for n, tool in enumerate(choice.tools)
    ]
    return [f"answer: {' | '.join([text_rule, *(f'@{part.name}' for part in parts)])}"], parts


def _call_schema(tool_format: ToolFormat, tool: Tool) -> dict[str, Any]:
    """The schema of a whole call that begins with the first of the format's openings."""
    definitions: dict[str, Any] = {
        key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters
    }
    arguments = tool_format.middle.split('"')[-2]
    properties = {"name": {"const": tool.name}, arguments: tool.parameters}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **definitions,
    }


def _text(*excluded: str) -> str:
    return f"TEXT: /{ANY}/{without(*excluded)}"


def _body(tool_format: ToolFormat, tool: Tool, n: int) -> tuple[str, list[str], list[GrammarSource]]:
    """The rule of a call from its name to its last argument, with the rules and parts it needs."""
    head = literal(tool.name + tool_format.middle)
    if tool_format.argument_syntax is not None:
        rules, parts = tool_format.argument_syntax.rules(tool, n)
        return f"{head} args{n}", rules, parts
    return f"{head} @t{n}", [], [GrammarSource(f"t{n}", "json_schema", tool.parameters, tool.param)]
