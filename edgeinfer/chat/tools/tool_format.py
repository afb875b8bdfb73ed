"""How one family of models writes tool calls. Grammar, parser and history all derive from this."""

from __future__ import annotations

import hashlib
import json
import secrets
import string
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from edgeinfer.chat.tools.argument_syntax import ArgumentSyntax

ALPHANUMERIC = string.ascii_letters + string.digits


TOLD = (
    "# Tools",
    "You may call functions to help with what the user asks. These are the functions:",
    "<tools>",
)

EXPLAINED = (
    "</tools>",
    "To call a function, end your answer with its name and its arguments in exactly this form:",
)


class ToolFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One family's form: `openings` NAME `middle` ARGUMENTS (`next` NAME `middle` ARGUMENTS)* `end`.

    Attributes:
        openings: ways to begin the first call. The first is the one we write.
        next: None where one call is all there can be.
        trigger: how every opening begins, wherever in the answer it stands; "": calls stand at the very
            beginning, and no text goes before them.
        lead: stands before text; an answer without it begins with the first tool's name.
        fields: how arguments are written, if not as one JSON object.
        result: stands before and after a tool's result, for a template that renders none.
        listing: stand before and after the tools in the system message, where the model was trained on that.
        short_ids: ids are nine letters and digits, and templates refuse any other.
        foreign: it is not what the template renders, so the template must not see tools, calls or results.
    """

    name: str
    openings: tuple[str, ...]
    middle: str
    next: str | None
    end: str
    trigger: str = ""
    lead: str = ""
    fields: ArgumentSyntax | None = None
    result: tuple[str, str] = ("<tool_response>\n", "\n</tool_response>")
    listing: tuple[str, str] | None = None
    short_ids: bool = False
    foreign: bool = False

    def new_id(self) -> str:
        size, prefix = (9, "") if self.short_ids else (24, "call_")
        return prefix + "".join(secrets.choice(ALPHANUMERIC) for _ in range(size))

    def known_id(self, id: str) -> str:
        """An id from the history in the form that templates take; the same for the same."""
        if not self.short_ids or (len(id) == 9 and id.isascii() and id.isalnum()):
            return id
        return hashlib.sha256(id.encode(errors="replace")).hexdigest()[:9]

    def write_calls(self, calls: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
        """Calls as the model would have written them."""
        written = [f"{name}{self.middle}{self.write_arguments(arguments)}" for name, arguments in calls]
        if self.next is not None:
            return self.openings[0] + self.next.join(written) + self.end
        return "\n".join(self.openings[0] + call + self.end for call in written)

    def write_arguments(self, arguments: Mapping[str, Any]) -> str:
        return self.fields.write(arguments) if self.fields else write_json(arguments)

    def write_result(self, content: str) -> str:
        return content.join(self.result)

    def section(self, tools: Iterable[Any]) -> str:
        """What the system message tells of the tools, for a template that doesn't.

        The tools are what a caller gave as such; the markers around them are ours.
        """
        functions = [write_json(tool.get("function", tool)) for tool in tools]
        if self.listing is not None:
            return f"[{', '.join(functions)}]".join(self.listing)
        example = self.write_calls([("FUNCTION", {"ARGUMENT": "VALUE"})])
        return "\n".join([*TOLD, *functions, *EXPLAINED, example])


def write_json(value: Any) -> str:
    """As models were trained to read and write it."""
    return json.dumps(value, ensure_ascii=False)
