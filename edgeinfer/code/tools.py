"""The tools that the model can call in a conversation: read, search, edit and run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from edgeinfer.code.assistant import ModelCall
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.edit import Edit, apply_edits
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError

T = TypeVar("T")

MAX_HITS = 40
MAX_LINE = 200
MAX_SEARCHED = 20_000
"""Files that a search looks into."""

MAX_LINES = 200
"""Of a file, for one call."""


def _tool(name: str, about: str, required: Sequence[str], **properties: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": schema, "strict": True},
    }


FILE = {
    "type": "string",
    "minLength": 1,
    "maxLength": 300,
    "description": "its name, from the project's root",
}

TOOLS = [
    _tool(
        "read",
        f"Show {MAX_LINES} lines of a file.",
        ["file", "line"],
        file=FILE,
        line={"type": "integer", "minimum": 1, "description": "the first line to show"},
    ),
    _tool(
        "search",
        "Find the lines of all files that contain a text.",
        ["text"],
        text={"type": "string", "minLength": 1, "maxLength": 200},
    ),
    _tool(
        "edit",
        "Propose to replace a passage of a file. `old` must be in the file exactly once; leave it empty for a new file.",
        ["file", "old", "new"],
        file=FILE,
        old={"type": "string"},
        new={"type": "string"},
    ),
    _tool(
        "run",
        "Propose to run a shell command in the project's root, such as its tests.",
        ["command"],
        command={"type": "string", "minLength": 1, "maxLength": 1000},
    ),
]


class ReadCall(msgspec.Struct, frozen=True):
    file: str
    line: Annotated[int, msgspec.Meta(ge=1)]


class SearchCall(msgspec.Struct, frozen=True):
    text: Annotated[str, msgspec.Meta(min_length=1)]


class RunCall(msgspec.Struct, frozen=True):
    command: str


class OtherTools(Protocol):
    """Tools that others bring, such as MCP servers."""

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The tools in OpenAI's form."""

    def __contains__(self, name: object) -> bool: ...

    def result(self, name: str, arguments: str) -> str:
        """Carry out a call after asking the user, and return the result in words for the model."""


class Tools:
    """Carries out calls. What they change or start is asked for first.

    `max_result`: characters of a result that the model is given.
    """

    def __init__(self, session: CodeSession, max_result: int, others: OtherTools | None = None) -> None:
        self.session = session
        self._max_result = max_result
        self._others = others

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """All tools in OpenAI's form."""
        return [*TOOLS, *(self._others.definitions if self._others else ())]

    def results(self, calls: Sequence[ModelCall]) -> list[str]:
        """Return the result of each call, in words for the model. The edits of all calls are one change."""
        edits = [call for call in calls if call.name == "edit"]
        edited = self._edit(edits) if edits else ""
        return [edited if call.name == "edit" else self._result(call) for call in calls]

    def _result(self, call: ModelCall) -> str:
        try:
            match call.name:
                case "read":
                    return self._read(_arguments(call, ReadCall))
                case "search":
                    return self._search(_arguments(call, SearchCall).text)
                case "run":
                    return self._run(_arguments(call, RunCall).command)
                case name if self._others and name in self._others:
                    return self._limited(self._others.result(name, call.arguments))
                case _:
                    return f"there is no tool {call.name}"
        except EdgeinferError as e:
            self.session.screen.say(f"({e.message})")
            return f"error: {e.message}"

    def _read(self, call: ReadCall) -> str:
        workspace, line = self.session.workspace, call.line
        name = workspace.name_from_root(call.file)
        lines = workspace.read(name).text.split("\n")
        shown = lines[line - 1 : line - 1 + MAX_LINES]
        last = line - 1 + len(shown)
        self.session.screen.say(f"(reads {name}, lines {line} to {last} of {len(lines)})")
        return self._limited(f"lines {line} to {last} of {len(lines)}:\n" + "\n".join(shown))

    def _search(self, text: str) -> str:
        hits: list[str] = []
        unread = 0
        names = self.session.workspace.files()
        for name in names[:MAX_SEARCHED]:
            try:
                content = self.session.workspace.read(name).text
            except EdgeinferError:
                unread += 1
                continue
            if text in content:
                hits += [
                    f"{name}:{number}: {line.strip()[:MAX_LINE]}"
                    for number, line in enumerate(content.split("\n"), 1)
                    if text in line
                ]
        skipped = f"; {unread} files are links, binary or too large" if unread else ""
        if len(names) > MAX_SEARCHED:
            skipped += f"; only {MAX_SEARCHED:,} of {len(names):,} files"
        self.session.screen.say(f"(searches for {visible(text)!r}: {len(hits)} lines{skipped})")
        if not hits:
            return f"no line contains that{skipped}"
        more = f"\n… and {len(hits) - MAX_HITS} more lines" if len(hits) > MAX_HITS else ""
        return self._limited("\n".join(hits[:MAX_HITS]) + more)

    def _edit(self, calls: Sequence[ModelCall]) -> str:
        try:
            edits = [_arguments(call, Edit) for call in calls]
            changes = apply_edits(edits, self.session.existing_or_new)
            return "written" if self.session.accept(changes) else "the owner does not want this change"
        except EdgeinferError as e:
            self.session.screen.say(f"({e.message})")
            return f"error: {e.message}"

    def _run(self, command: str) -> str:
        result = self.session.run(command, typed=False)
        if result is None:
            return "the owner does not want to run this"
        return self._limited(f"{result}\n{result.output}")

    def _limited(self, text: str) -> str:
        left_out = len(text) - self._max_result
        if left_out <= 0:
            return text
        head = self._max_result // 3
        return f"{text[:head]}\n[{left_out} characters left out]\n{text[head + left_out :]}"


def _arguments(call: ModelCall, form: type[T]) -> T:
    """Decode the arguments of a call. Raises EdgeinferError: the server need not hold to the tools' schemas."""
    try:
        return msgspec.json.decode(call.arguments, type=form)
    except (msgspec.MsgspecError, RecursionError) as e:
        raise EdgeinferError(f"the arguments of {visible(call.name)} are not valid: {e}") from e
