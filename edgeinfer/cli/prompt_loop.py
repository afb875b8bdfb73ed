"""What conversations at the terminal have in common: prompts, commands, Ctrl-C, errors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from edgeinfer.cli import terminal
from edgeinfer.cli.prompt_reader import Prompt, open_reader
from edgeinfer.cli.slash_commands import SlashCommand, SlashCommands
from edgeinfer.errors import EdgeinferError

KEYS = '''\
"""               begins a text of several lines; """ ends it. Alt-Enter begins a line, too
Tab, Up, Ctrl-R   complete a command; earlier prompts; search in them
Ctrl-C            stop {running}; twice at the prompt: leave
Ctrl-D            leave'''


class LeaveConversation(Exception):
    """The user has asked to leave."""


class PromptLoop(ABC):
    """Reads prompts and acts on them until one ends it, or the end of input.

    Ctrl-C stops what is running, and the next one leaves. One that comes with nothing running only warns: it may
    have been meant for what had just ended.
    """

    warning = "(press Ctrl-C again, or Ctrl-D, to leave)"
    running = "the answer"

    def __init__(self, commands: Sequence[SlashCommand], history: Path | None) -> None:
        """`history`: the file of earlier prompts; None keeps them no longer than the program runs."""
        self.interrupted = False
        self.commands = SlashCommands(
            (
                *commands,
                SlashCommand(("/help", "/?"), "", "show this list", self._help),
                SlashCommand(("/exit", "/quit", "/bye"), "", "leave", self._leave),
            )
        )
        self.reader = open_reader(self.commands.completions, history)

    @abstractmethod
    def ask(self, question: str) -> None:
        """Answer a question."""

    def act(self, prompt: Prompt) -> None:
        """Obey a command, or answer a question."""
        if not prompt.text.strip():
            return
        called = None if prompt.literal else self.commands.find(prompt.text)
        if called is None:
            self.ask(prompt.text)
        else:
            command, argument = called
            command.run(argument)

    def run(self) -> None:
        """Talk until the end; raises KeyboardInterrupt if Ctrl-C ended the conversation."""
        while self._turn():
            pass

    def _turn(self) -> bool:
        try:
            prompt = self.reader.read()
            self.interrupted = False
            self.act(prompt)
        except LeaveConversation:
            return False
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

    def _help(self, _: str) -> None:
        terminal.say("\n".join([*self.commands.help_lines(), KEYS.format(running=self.running)]))

    def _leave(self, _: str) -> None:
        raise LeaveConversation
