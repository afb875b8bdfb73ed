"""`edgeinfer chat` without a prompt: a conversation at the terminal."""

from __future__ import annotations

import sys
from contextlib import suppress

from edgeinfer.cli import terminal
from edgeinfer.cli.conversation import Conversation
from edgeinfer.errors import EdgeinferError

HELP = """\
/clear          forget what was said
/system TEXT    tell the model how to behave; without TEXT: nothing any more
/exit           leave (also Ctrl-D)
/help           these lines
Ctrl-C          stop the answer; at the prompt: leave"""


class Repl:
    """Asks and answers until /exit or the end of input.

    Ctrl-C stops the running answer, and the next one leaves. One that comes with no answer running only
    warns: it may have been meant for the answer that had just ended.
    """

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.interrupted = False

    def run(self) -> None:
        """Raises KeyboardInterrupt where Ctrl-C left the conversation."""
        with suppress(ImportError):
            import readline  # noqa: F401  line editing and history for input(), for as long as this runs
        while self._turn():
            pass

    def _turn(self) -> bool:
        """One line and what it asks for; False after the last one."""
        try:
            line = _read()
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
            terminal.say("(Ctrl-C again, or Ctrl-D, leaves)")
        except EdgeinferError as e:
            terminal.report(e)
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
                self.conversation.turns.clear()
                terminal.say("(forgotten)")
            case "/system":
                self.conversation.system = rest.strip() or None
                terminal.say("(set)" if self.conversation.system else "(none)")
            case _ if command.startswith("/") and command[1:].isalpha():
                terminal.say(f"no such command: {command} (/help names them)")
            case _:
                self.conversation.ask(line)
        return True


def _read() -> str:
    if sys.stdout.isatty():
        return terminal.valid(input("> "))
    terminal.tell("> ")  # stdout is a file: it is for answers alone
    return terminal.valid(input())
