"""Carries out a model's calls of servers' tools, each after the user has agreed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError
from edgeinfer.mcp.blocking_toolbox import BlockingToolbox
from edgeinfer.mcp.limits import MAX_ARGUMENTS, MAX_RESULT

SHOWN_LINES = 20
SHOWN = 2000
"""Lines and characters of a result that the user sees; the model is given more of it."""

REFUSED = "the user does not want this call"


class ToolCalls:
    """Shows a call, asks, calls and shows the result.

    The answer "always" holds for one tool, as long as the conversation does.
    """

    def __init__(
        self,
        toolbox: BlockingToolbox,
        say: Callable[[str], None],
        ask: Callable[[str, str], str],
        max_result: int = MAX_RESULT,
    ) -> None:
        """`ask` shows a question and returns one of the letters that it is given.

        `max_result`: characters of a result that the model is given.
        """
        self.tools = dict(toolbox.tools)
        self._toolbox = toolbox
        self._say = say
        self._ask = ask
        self._max_result = max_result
        self._always: set[str] = set()
        self._numbers = itertools.count()

    def __contains__(self, name: object) -> bool:
        return name in self.tools

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The tools in OpenAI's form."""
        return [tool.definition for tool in self.tools.values()]

    def keep_fitting(self, count: Callable[[str], int], room: int) -> None:
        """Keep the servers whose tools together have `room` tokens at the most, and say which are left out."""
        for server in dict.fromkeys(tool.server for tool in self.tools.values()):
            tools = [tool for tool in self.tools.values() if tool.server == server]
            tokens = count(json.dumps([tool.definition for tool in tools]))
            if tokens <= room:
                room -= tokens
                continue
            self.tools = {name: tool for name, tool in self.tools.items() if tool.server != server}
            self._say(
                f"(the MCP server {server} is left out: its {len(tools)} tools have {tokens:,} tokens, and the context "
                f"has room for {room:,})"
            )

    def turns(self, text: str, calls: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Carry out calls, and return the messages that go on a conversation: the model's, and the results.

        Args:
            text: what the model has said before them.
            calls: their names and arguments.
        """
        first = next(self._numbers)
        ids = [f"call_{first}_{number}" for number in range(len(calls))]
        made = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, (name, arguments) in zip(ids, calls, strict=True)
        ]
        results = [
            {"role": "tool", "tool_call_id": id_, "content": self.result(name, arguments)}
            for id_, (name, arguments) in zip(ids, calls, strict=True)
        ]
        return [{"role": "assistant", "content": text, "tool_calls": made}, *results]

    def result(self, name: str, arguments: str) -> str:
        """Return the result of a call of a tool in the toolbox, in words for the model."""
        tool = self.tools[name]
        try:
            values = json.loads(arguments or "{}")
            if not isinstance(values, dict):
                raise ValueError("they are not an object")
        except (ValueError, RecursionError) as e:  # of a server that does not hold to the tools
            return f"error: the arguments are not valid: {e}"
        text = json.dumps(values, ensure_ascii=False, indent=2)
        if len(text) > MAX_ARGUMENTS:
            return f"error: the arguments have more than {MAX_ARGUMENTS:,} characters"
        self._say(f"(calls {visible(tool.own_name)} of the MCP server {tool.server})")
        self._say(visible(text))
        if name not in self._always:
            answer = self._ask("Call this?", "yan")
            if answer == "n":
                return REFUSED
            if answer == "a":
                self._always.add(name)
        return self._call(name, values)

    def _call(self, name: str, values: dict[str, object]) -> str:
        try:
            result = self._toolbox.call(name, values)
        except EdgeinferError as e:
            self._say(f"({e.message})")
            return f"error: {e.message}"
        self._show(result.text)
        return ("error: " if result.is_error else "") + result.shortened(self._max_result)

    def _show(self, text: str) -> None:
        lines = text[:SHOWN].split("\n")
        shown = "\n".join(lines[:SHOWN_LINES])
        left = len(text) - len(shown)
        self._say(shown + (f"\n(and {left:,} characters more)" if left else ""))
