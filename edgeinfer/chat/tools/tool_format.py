"""The way that a family of models writes tool calls. Grammar, parser and history derive from it."""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from edgeinfer.chat.tools.argument_syntax import ArgumentSyntax

ALPHANUMERIC = string.ascii_letters + string.digits


INTRODUCTION = (
    "# Tools",
    "You may call functions to help with what the user asks. These are the functions:",
    "<tools>",
)

INSTRUCTIONS = (
    "</tools>",
    "To call a function, end your answer with its name and its arguments in exactly this form:",
)


class ToolFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one answer: `openings` NAME `middle` ARGUMENTS (`next` NAME `middle` ARGUMENTS)* `end`.

    Attributes:
        openings: ways to begin the first call. The first is the one that we write.
        next: None where an answer can make one call only.
        trigger: the beginning of every opening, wherever in the answer it stands; "": calls stand at the very
            beginning, and no text precedes them.
        lead: precedes text.
        begun: the prompt ends with the first call's opening; an answer without `lead` begins with a name.
        channels: answers are messages in channels, see `channels`.
        argument_syntax: how arguments are written, if not as one JSON object.
        result: precedes and follows a tool's result, for a template that renders none.
        listing: precedes and follows the tools in the system message, where the model was trained on that.
        functions: templates read the tools as JSON text from `functions`, and the date from `datetime`.
        short_ids: ids are nine letters and digits, and templates refuse any other.
        foreign: the template renders another format, so it must not see tools, calls or results.
    """

    name: str
    openings: tuple[str, ...]
    middle: str
    next: str | None
    end: str
    trigger: str = ""
    lead: str = ""
    begun: bool = False
    channels: bool = False
    argument_syntax: ArgumentSyntax | None = None
    result: tuple[str, str] = ("<tool_response>\n", "\n</tool_response>")
    listing: tuple[str, str] | None = None
    functions: bool = False
    short_ids: bool = False
    foreign: bool = False

    def new_id(self) -> str:
        size, prefix = (9, "") if self.short_ids else (24, "call_")
        return prefix + "".join(secrets.choice(ALPHANUMERIC) for _ in range(size))

    def known_id(self, id: str) -> str:
        """An id of the history in the form that templates accept; equal ids stay equal."""
        if not self.short_ids or (len(id) == 9 and id.isascii() and id.isalnum()):
            return id
        return hashlib.sha256(id.encode(errors="replace")).hexdigest()[:9]

    def write_calls(self, calls: Iterable[tuple[str, Mapping[str, Any] | str]]) -> str:
        """The calls as the model would write them."""
        written = [f"{name}{self.middle}{self.write_arguments(arguments)}" for name, arguments in calls]
        if self.next is not None:
            return self.openings[0] + self.next.join(written) + self.end
        return "\n".join(self.openings[0] + call + self.end for call in written)

    def write_arguments(self, arguments: Mapping[str, Any] | str) -> str:
        """Arguments that are a text were cut, and stay as they are."""
        if isinstance(arguments, str):
            return arguments
        syntax = self.argument_syntax
        return syntax.write(arguments) if syntax else write_json(arguments)

    def write_result(self, content: str) -> str:
        return content.join(self.result)

    def variables(self, tools: Sequence[Any] | None) -> dict[str, str]:
        """Variables that templates of this format read besides Hugging Face's."""
        if not self.functions:
            return {}
        today = datetime.now().astimezone().strftime("%d %B %Y")  # without the time, a prompt stays cached
        return {"functions": write_json(tools or []), "datetime": today}

    def section(self, tools: Iterable[Any]) -> str:
        """The part of the system message that describes the tools, for a template that doesn't.

        The tools are the caller's definitions; the markers around them are ours.
        """
        functions = [write_json(tool.get("function", tool)) for tool in tools]
        if self.listing is not None:
            return f"[{', '.join(functions)}]".join(self.listing)
        example = self.write_calls([("FUNCTION", {"ARGUMENT": "VALUE"})])
        return "\n".join([*INTRODUCTION, *functions, *INSTRUCTIONS, example])


def write_json(value: Any) -> str:
    """JSON as models were trained to read and write it."""
    return json.dumps(value, ensure_ascii=False)
