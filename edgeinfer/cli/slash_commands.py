"""Commands of a conversation at the terminal: lines that begin with a slash."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from edgeinfer.errors import InvalidRequest

SIMILARITY = 0.7
"""Of a word to a command, from which on it counts as that command misspelt."""

USAGE_WIDTH = 18


class SlashCommand(msgspec.Struct, frozen=True):
    """A command of a conversation.

    Attributes:
        names: what it is called; the help shows the first of them.
        argument: what follows the name, for the help: "NAME", "[FILE]".
        about: what the command does, in a few words.
        run: gets what follows the name, without space around it.
        values: proposes whole values for the argument, given what has been typed of it.
    """

    names: tuple[str, ...]
    argument: str
    about: str
    run: Callable[[str], None]
    values: Callable[[str], Iterable[str]] | None = None


class SlashCommands:
    """The commands of a conversation: finds, completes and lists them."""

    def __init__(self, commands: Sequence[SlashCommand]) -> None:
        self._commands = commands
        self._by_name = {name: command for command in commands for name in command.names}

    def find(self, text: str) -> tuple[SlashCommand, str] | None:
        """Return the command that a prompt calls and its argument; None if the prompt is a question.

        Raises:
            InvalidRequest: it calls a command that does not exist.
        """
        words = text.strip().split(maxsplit=1)
        if not words or not words[0].startswith("/"):
            return None
        name, rest = words[0], words[1] if len(words) > 1 else ""
        if command := self._by_name.get(name):
            return command, rest
        similar = difflib.get_close_matches(name, self._by_name, n=1, cutoff=SIMILARITY)
        takes_more = bool(similar) and bool(self._by_name[similar[0]].argument)
        if name[1:].isalpha() and (takes_more or not rest):  # "/tmp is full" is a question
            hint = f"did you mean {similar[0]}?" if similar else "/help lists them"
            raise InvalidRequest(f"no such command: {name}", hint=hint)
        return None

    def completions(self, text: str) -> tuple[str, list[str]]:
        """Return the last part of what has been typed, and what may stand in its place."""
        name, space, typed = text.partition(" ")
        if not space:
            names = [name for command in self._commands for name in command.names[:1]]
            return name, [full for full in names if full.startswith(name)] if name.startswith("/") else []
        command = self._by_name.get(name)
        if command is None or command.values is None:
            return typed, []
        return typed, [value for value in command.values(typed) if value.startswith(typed)]

    def help_lines(self) -> list[str]:
        """Return a line for each command."""
        usages = [f"{command.names[0]} {command.argument}".strip() for command in self._commands]
        return [
            f"{usage:<{USAGE_WIDTH}}{command.about}"
            for usage, command in zip(usages, self._commands, strict=True)
        ]
