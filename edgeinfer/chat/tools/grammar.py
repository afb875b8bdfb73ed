"""What an answer that may call tools looks like, in llguidance's Lark."""

from __future__ import annotations

from typing import Any

from edgeinfer.chat.lark import ANY, literal, one_of, pattern, starting, without
from edgeinfer.chat.tools.tool import Choice, Tool
from edgeinfer.chat.tools.tool_format import ToolFormat
from edgeinfer.grammar.source import GrammarSource

Rules = tuple[list[str], list[GrammarSource]]
"""Rules of a grammar to be, one of them called `answer`, and the parts they refer to."""


def rules(form: ToolFormat, choice: Choice, said: str | None, *excluded: str) -> Rules:
    """An answer of calls, of text, or of text and then calls.

    `said` is a rule for text that is not free; it stands instead of calls, never before them. Free text is
    not what one of the `excluded` patterns describes.
    """
    lead = f"{literal(form.lead)} " if form.lead else ""
    if not choice.tools:
        if said is not None:
            return [f"answer: {lead}{said}"], []
        called = f"{ANY}{pattern(form.trigger)}{ANY}" if form.trigger else starting(form.openings)
        return [f"answer: {lead}TEXT", _text(*excluded, called)], []
    again = f" ({literal(form.next)} call)*" if form.next is not None and choice.parallel else ""
    opened = "" if form.lead else one_of(form.openings) if form.trigger else "OPENING"
    if said is not None and not choice.required and not form.trigger:
        return _json_or_calls(form, choice, said)
    bodies = [_body(form, tool, n) for n, tool in enumerate(choice.tools)]
    lines = [
        f"opened: {opened} calls",
        f"calls: call{again} {literal(form.end)}",
        f"call: {' | '.join(head for head, _, _ in bodies)}",
        *(line for _, lines, _ in bodies for line in lines),
    ]
    if choice.required:
        answer = ["answer: opened"]
    elif said is not None:
        answer = [f"answer: {lead}{said} | opened"]
    elif form.trigger:
        answer = _text_then_calls(form, lead, excluded)
    else:
        answer = ["answer: TEXT | opened", _text(*excluded, starting(form.openings))]
    if not form.trigger:  # with the white space that may follow thoughts: one lexeme, or TEXT would take that
        lines.append(rf"OPENING: /\n{{0,2}}({'|'.join(map(pattern, form.openings))})/")
    return [*answer, *lines], [part for _, _, parts in bodies for part in parts]


def _text_then_calls(form: ToolFormat, lead: str, excluded: tuple[str, ...]) -> list[str]:
    """Free text up to the trigger, and from there on a call and nothing else."""
    rest = [opening.removeprefix(form.trigger) for opening in form.openings]
    told = f"TEXT | head {one_of(rest) if any(rest) else ''} calls"
    return [
        f"answer: {lead}({told}) | opened" if lead else f"answer: {told}",
        _text(*excluded),
        "head[lazy]: HEAD",
        f"HEAD: /{ANY}{pattern(form.trigger)}/{without(*excluded)}",
    ]


def _json_or_calls(form: ToolFormat, choice: Choice, said: str) -> Rules:
    """Where calls are bare JSON and so is the text: told apart by schemas, as beginnings could not."""
    parts = [
        GrammarSource(f"t{n}", "json_schema", _call_schema(form, tool), tool.param)
        for n, tool in enumerate(choice.tools)
    ]
    return [f"answer: {' | '.join([said, *(f'@{part.name}' for part in parts)])}"], parts


def _call_schema(form: ToolFormat, tool: Tool) -> dict[str, Any]:
    """Of a whole call, as the first of the format's openings begins it."""
    definitions: dict[str, Any] = {
        key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters
    }
    given = form.middle.split('"')[-2]
    properties = {"name": {"const": tool.name}, given: tool.parameters}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **definitions,
    }


def _text(*excluded: str) -> str:
    return f"TEXT: /{ANY}/{without(*excluded)}"


def _body(form: ToolFormat, tool: Tool, n: int) -> tuple[str, list[str], list[GrammarSource]]:
    """From the name to the arguments' end, with the rules and parts that takes."""
    head = literal(tool.name + form.middle)
    if form.fields is not None:
        rules, parts = form.fields.rules(tool, n)
        return f"{head} args{n}", rules, parts
    return f"{head} @t{n}", [], [GrammarSource(f"t{n}", "json_schema", tool.parameters, tool.param)]
