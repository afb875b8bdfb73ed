"""What conversations at the terminal have in common: reading prompts, Ctrl-C, errors."""

from __future__ import annotations

import difflib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress

from edgeinfer.cli import terminal
from edgeinfer.errors import EdgeinferError

QUOTES = '"""'


class PromptLoop(ABC):
    """Reads prompts and acts on them until one ends it, or the end of input.

    Ctrl-C stops what is running, and the next one leaves. One that comes with nothing running only warns: it may
    have been meant for what had just ended.
    """

    warning = "(press Ctrl-C again, or Ctrl-D, to leave)"

    def __init__(self) -> None:
        self.interrupted = False

    @abstractmethod
    def handle(self, line: str) -> bool:
        """Act on a prompt; False if it was the last."""

    def run(self) -> None:
        """Talk until the end; raises KeyboardInterrupt if Ctrl-C ended the conversation."""
        while self._turn():
            pass

    def _turn(self) -> bool:
        try:
            line = read_prompt()
            self.interrupted = False
            return self.handle(line)
        except EOFError:
            terminal.say()
            return False
        except KeyboardInterrupt:
            terminal.say()
            if self.interrupted:
                raise
            self.interrupted = True
            terminal.say(self.warning)
        except EdgeinferError as e:
            terminal.report_error(e)
        return True


def edit_lines() -> None:
    """Let input() edit lines, with a history for as long as the program runs, where Python has readline."""
    with suppress(ImportError):
        import readline

        # A pasted text of several lines is one prompt. Python switches this off, and libedit does not know it.
        if os.environ.get("TERM", "dumb") != "dumb":
            readline.parse_and_bind("set enable-bracketed-paste on")


def is_misspelt(command: str, rest: str, commands: Sequence[str]) -> bool:
    """Tell a command that does not exist from a question that begins with a path, such as "/tmp is full"."""
    if not (command.startswith("/") and command[1:].isalpha()):
        return False
    return not rest.strip() or bool(difflib.get_close_matches(command, commands, n=1, cutoff=0.7))


def read_prompt() -> str:
    """Read a line, or the lines between two triple quotes."""
    text = _read_line("> ")
    if text.strip().startswith(QUOTES):
        text = text.strip().removeprefix(QUOTES)
        while QUOTES not in text:
            text += "\n" + _read_line("... ")
        text = text.partition(QUOTES)[0].strip("\n")
    return text


def _read_line(prompt: str) -> str:
    if sys.stdout.isatty():
        return terminal.replace_invalid(input(prompt))
    terminal.say_inline(prompt)  # stdout is a file: it is for answers alone
    return terminal.replace_invalid(input())
