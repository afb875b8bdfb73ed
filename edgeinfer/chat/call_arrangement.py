"""Arranges calls and their results for what a chat template can render."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edgeinfer.chat.capabilities import Capabilities
from edgeinfer.chat.conversation import TemplateMessage
from edgeinfer.chat.tools.tool_format import ToolFormat, write_json

CUT_ARGUMENTS = "arguments"
"""The name under which arguments that are not JSON stand in an object."""


def arrange_calls(
    turns: list[TemplateMessage], capabilities: Capabilities, tool_format: ToolFormat
) -> list[TemplateMessage]:
    """New messages, with calls and results where the template looks for them.

    Where it does not, they are written into the content as `tool_format` does; results become the user's.
    """
    if capabilities.parallel_calls == "apart":
        turns = list(_one_call_each(turns))
    arranged = [part for turn in turns for part in _with_calls(turn, capabilities, tool_format)]
    return _results_as_user(arranged, capabilities, tool_format)


def _one_call_each(turns: list[TemplateMessage]) -> Iterator[TemplateMessage]:
    """Turns with one call each, and right after it the result that answers it, if that follows."""
    rest = iter_runs(turns)
    for turn, results in rest:
        calls = turn.get("tool_calls", ())
        if len(calls) < 2:
            yield from (turn, *results)
            continue
        bare = {"role": turn["role"], "content": ""}  # what was said or thought came before the first call
        for n, call in enumerate(calls):
            yield {**(bare if n else turn), "tool_calls": [call]}
            own = next((one for one in results if one.get("tool_call_id") == call.get("id")), None)
            if own is not None:
                results.remove(own)
                yield own
        yield from results


def iter_runs(turns: Iterable[TemplateMessage]) -> Iterator[tuple[TemplateMessage, list[TemplateMessage]]]:
    """Each turn with the results that follow it."""
    run: tuple[TemplateMessage, list[TemplateMessage]] | None = None
    for turn in turns:
        if run and turn["role"] == "tool":
            run[1].append(turn)
            continue
        if run:
            yield run
        run = turn, []
    if run:
        yield run


def _with_calls(
    turn: TemplateMessage, capabilities: Capabilities, tool_format: ToolFormat
) -> list[TemplateMessage]:
    """The turns that one turn becomes."""
    calls = turn.get("tool_calls", ())
    if not calls:
        return [turn]
    beside = capabilities.text_beside_calls if turn["content"] else "shown"
    if (
        not capabilities.tool_calls
        or beside == "written"
        or (len(calls) > 1 and capabilities.parallel_calls == "written")
    ):
        return [_written(turn, tool_format)]
    functions = [_arguments(call["function"], capabilities) for call in calls]
    arranged = {
        **turn,
        "content": turn["content"] or (None if capabilities.null_content else ""),
        "tool_calls": [{**call, "function": f} for call, f in zip(calls, functions, strict=True)],
    }
    if beside == "apart":
        text = {key: value for key, value in turn.items() if key != "tool_calls"}
        arranged.pop("reasoning_content", None)
        return [text, {**arranged, "content": None if capabilities.null_content else ""}]
    return [arranged]


def _written(turn: TemplateMessage, tool_format: ToolFormat) -> TemplateMessage:
    functions = [call["function"] for call in turn["tool_calls"]]
    text = tool_format.write_calls((f["name"], f["arguments"]) for f in functions)
    content = "\n".join(filter(None, [turn["content"], text]))
    return {key: value for key, value in turn.items() if key != "tool_calls"} | {"content": content}


def _arguments(function: dict[str, Any], capabilities: Capabilities) -> dict[str, Any]:
    arguments = function["arguments"]
    if isinstance(arguments, str) and not capabilities.cut_arguments:
        arguments = {CUT_ARGUMENTS: arguments}
    if not isinstance(arguments, str) and not capabilities.arguments_object:
        arguments = write_json(arguments)
    return {**function, "arguments": arguments}


def _results_as_user(
    turns: list[TemplateMessage], capabilities: Capabilities, tool_format: ToolFormat
) -> list[TemplateMessage]:
    """Results that the template drops in the user's words, with what the user says next: many templates want
    roles to alternate.
    """
    runs: list[list[TemplateMessage]] = []  # of turns that become one
    called: set[Any] = set()
    after_result = False
    for turn in turns:
        if turn["role"] != "tool":
            called = {call.get("id") for call in turn.get("tool_calls", ())}
        known = capabilities.stray_results or turn.get("tool_call_id") in called
        is_result = turn["role"] == "tool" and not (capabilities.tool_results and known)
        if is_result:
            turn = {"role": "user", "content": tool_format.write_result(turn["content"])}
        if after_result and (is_result or turn["role"] == "user"):
            runs[-1].append(turn)
        else:
            runs.append([turn])
        after_result = is_result
    return [
        {**run[0], "content": "\n".join(turn["content"] for turn in run)} if len(run) > 1 else run[0]
        for run in runs
    ]
