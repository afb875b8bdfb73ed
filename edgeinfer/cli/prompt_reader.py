"""Reads prompts at a terminal: with editing, completion and history where the terminal can do that."""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec

from edgeinfer.cli import terminal
from edgeinfer.errors import SettingsError
from edgeinfer.user_folders import state_folder

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.data_structures import Size
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

Completions = Callable[[str], tuple[str, list[str]]]
"""Takes what has been typed; returns its last part, and what may stand in the place of that part."""

PROMPT, MORE = "> ", "... "
QUOTES = '"""'
HISTORY_VARIABLE = "EDGEINFER_HISTORY"
ON, OFF = ("on", "1", "yes", "true"), ("off", "0", "no", "false")

BLOCK = re.compile(rf"\s*(/\w+\s+)?{QUOTES}(.*)", re.DOTALL)
"""A block of several lines, perhaps after a command."""


class Prompt(msgspec.Struct, frozen=True):
    """What the user has typed.

    Attributes:
        literal: it was quoted as a whole, so it is no command.
    """

    text: str
    literal: bool = False


class PromptReader(ABC):
    """Reads one prompt after the other."""

    @abstractmethod
    def read_text(self) -> str:
        """Read until the end of a line, or of a block; raises EOFError and KeyboardInterrupt."""

    def read(self) -> Prompt:
        """Read a prompt, and take the quotes off a block."""
        return unquoted(terminal.replace_invalid(self.read_text()))


def is_open(text: str) -> bool:
    """Tell whether a block has been begun and not ended."""
    block = BLOCK.match(text)
    return block is not None and QUOTES not in block[2]


def unquoted(text: str) -> Prompt:
    """Return what a text means: a block without its quotes, anything else without line breaks at the end."""
    block = BLOCK.match(text)
    if block is None:
        return Prompt(text.rstrip("\n"))
    inner, _, after = block[2].partition(QUOTES)
    content = inner.strip("\n") + ("\n" + after.strip() if after.strip() else "")
    return Prompt((block[1] or "") + content, literal=block[1] is None)


class LineReader(PromptReader):
    """Reads lines as the terminal sends them, which leaves editing to it."""

    def read_text(self) -> str:
        text = self._read_line(PROMPT)
        while is_open(text):
            text += "\n" + self._read_line(MORE)
        return text

    def _read_line(self, prompt: str) -> str:
        if sys.stdout.isatty():
            return input(prompt)
        terminal.say_inline(prompt)  # stdout is a file: it is for answers alone
        return input()


class LineEditor(PromptReader):
    """Lets the user edit a prompt of any number of lines, complete commands and look into the history."""

    def __init__(self, output: TextIO, completions: Completions, history: Path | None) -> None:
        self._session = self._open(output, completions, history)

    def read_text(self) -> str:
        return self._session.prompt(PROMPT)

    def _open(self, output: TextIO, completions: Completions, history: Path | None) -> PromptSession[str]:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.output.vt100 import Vt100_Output
        from prompt_toolkit.shortcuts import CompleteStyle

        from edgeinfer.cli.prompt_history import open_history

        return PromptSession(
            # Where the cursor is need not be known, and a slow line or a serial console may never tell.
            output=Vt100_Output(output, lambda: _size(output), term=os.environ.get("TERM"), enable_cpr=False),
            history=open_history(history),
            completer=_completer(completions),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            multiline=True,
            prompt_continuation=MORE,
            key_bindings=_keys(),
            reserve_space_for_menu=0,
            enable_suspend=True,
            enable_open_in_editor=True,
        )


def history_file(command: str, *, keep: bool) -> Path | None:
    """Return the file of a command's earlier prompts; None if none are to be kept.

    Raises:
        SettingsError: the variable that decides it says neither yes nor no.
    """
    word = os.environ.get(HISTORY_VARIABLE, "").lower()
    if word not in ("", *ON, *OFF):
        raise SettingsError(f"{HISTORY_VARIABLE}: it must be on or off, not {word[:20]!r}")
    return state_folder() / command / "history" if keep and word not in OFF else None


def open_reader(completions: Completions, history: Path | None) -> PromptReader:
    """Return what suits the terminal: an editor, unless nobody sees what it would draw."""
    stream = next((stream for stream in (sys.stdout, sys.stderr) if stream.isatty()), None)
    if stream and terminal.can_draw(stream) and sys.stdin.isatty():
        return LineEditor(stream, completions, history)
    return LineReader()


def _size(output: TextIO) -> Size:
    """Return the rows and columns of a terminal; a serial console may know neither."""
    from prompt_toolkit.data_structures import Size

    columns, rows = os.get_terminal_size(output.fileno())
    return Size(rows or 24, columns or 80)


def _completer(completions: Completions) -> Completer:
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document

    class TypedCompleter(Completer):
        """Proposes what may stand in the place of the last part of what has been typed."""

        def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Completion]:
            typed, values = completions(document.text_before_cursor)
            yield from (Completion(value, start_position=-len(typed)) for value in values)

    return TypedCompleter()


def _keys() -> KeyBindings:
    """Enter sends the prompt, unless a block is open; Alt-Enter begins another line."""
    from prompt_toolkit.enums import DEFAULT_BUFFER
    from prompt_toolkit.filters import has_focus, is_searching
    from prompt_toolkit.key_binding import KeyBindings

    keys, editing = KeyBindings(), has_focus(DEFAULT_BUFFER) & ~is_searching

    @keys.add("enter", filter=editing)
    @keys.add("c-j", filter=editing)  # what was typed ahead, while the terminal was not ours
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_open(buffer.text):
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=editing)
    @keys.add("escape", "c-j", filter=editing)
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
