"""`edgeinfer chat` without a prompt: a conversation at the terminal."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from edgeinfer.cli import terminal
from edgeinfer.cli.chat_session import ChatSession
from edgeinfer.errors import EdgeinferError

HELP = '''\
"""             begin a text of several lines; end it with """ too
/clear          forget the conversation so far
/system TEXT    tell the model how to behave; without TEXT: remove that instruction
/exit           leave (also Ctrl-D)
/help           show this list
Ctrl-C          stop the answer; twice at the prompt: leave'''

COMMANDS = ("/clear", "/system", "/exit", "/quit", "/bye", "/help")
QUOTES = '"""'


class Repl:
    """Reads prompts and prints answers until /exit or the end of input.

    Ctrl-C stops the running answer, and the next one leaves. One that comes with no answer running only
    warns: it may have been meant for the answer that had just ended.
    """

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.interrupted = False

    def run(self) -> None:
        """Talk until the end; raises KeyboardInterrupt if Ctrl-C ended the conversation."""
        with suppress(ImportError):
            import readline  # line editing and history for input(), for as long as this runs

            # A pasted text of several lines is one prompt. Python switches this off, and libedit does not know it.
            if os.environ.get("TERM", "dumb") != "dumb":
                readline.parse_and_bind("set enable-bracketed-paste on")
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Read one line and act on it; False after the last one."""
        try:
            line = read_prompt()
            self.interrupted = False
            return self._handle(line)
        except EOFError:
            terminal.say()
            return False
        except KeyboardInterrupt:
            terminal.say()
            if self.interrupted:
                raise
            self.interrupted = True
            terminal.say("(press Ctrl-C again, or Ctrl-D, to leave)")
        except EdgeinferError as e:
            terminal.report_error(e)
        return True

    def _handle(self, line: str) -> bool:
        command, _, rest = line.strip().partition(" ")
        match command:
            case "":
                pass
            case "/exit" | "/quit" | "/bye":
                return False
            case "/help" | "/?":
                terminal.say(HELP)
            case "/clear":
                self.session.turns.clear()
                terminal.say("(conversation cleared)")
            case "/system":
                self.session.system = rest.strip() or None
                terminal.say("(system prompt set)" if self.session.system else "(system prompt removed)")
            case _ if is_misspelt(command, rest, COMMANDS):
                terminal.say(f"no such command: {command} (/help lists them)")
            case _:
                self.session.ask(line)
        return True


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
