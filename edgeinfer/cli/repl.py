"""`edgeinfer chat` without a prompt: a conversation at the terminal."""

from __future__ import annotations

import sys
from contextlib import suppress

from edgeinfer.cli import terminal
from edgeinfer.cli.chat_session import ChatSession
from edgeinfer.errors import EdgeinferError

HELP = """\
/clear          forget the conversation so far
/system TEXT    tell the model how to behave; without TEXT: remove that instruction
/exit           leave (also Ctrl-D)
/help           show this list
Ctrl-C          stop the answer; at the prompt: leave"""


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
            import readline  # noqa: F401  line editing and history for input(), for as long as this runs
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Read one line and act on it; False after the last one."""
        try:
            line = _read_line()
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
            case _ if command.startswith("/") and command[1:].isalpha():
                terminal.say(f"no such command: {command} (/help lists them)")
            case _:
                self.session.ask(line)
        return True


def _read_line() -> str:
    if sys.stdout.isatty():
        return terminal.replace_invalid(input("> "))
    terminal.say_inline("> ")  # stdout is a file: it is for answers alone
    return terminal.replace_invalid(input())
