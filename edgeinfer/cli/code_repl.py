"""`edgeinfer code` without a command: a conversation about a project, at the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeinfer.cli import terminal
from edgeinfer.cli.mcp_tools import list_command
from edgeinfer.cli.prompt_loop import PromptLoop
from edgeinfer.cli.prompt_reader import Prompt
from edgeinfer.cli.slash_commands import SlashCommand
from edgeinfer.cli.text_input import path_values
from edgeinfer.code.code_session import CodeSession, UserStopped
from edgeinfer.code.conversation import Conversation

if TYPE_CHECKING:
    from edgeinfer.mcp.tool_calls import ToolCalls


class CodeRepl(PromptLoop):
    """A conversation about a project."""

    running = "the answer or the command"
    warning = "(stopped; press Ctrl-C again, or Ctrl-D, to leave)"

    def __init__(
        self,
        session: CodeSession,
        conversation: Conversation,
        history: Path | None,
        mcp_tools: ToolCalls | None = None,
    ) -> None:
        super().__init__((*self._commands(), list_command(mcp_tools)), history)
        self.session = session
        self.conversation = conversation

    def _commands(self) -> Sequence[SlashCommand]:
        return (
            SlashCommand(
                ("/add",),
                "FILE …",
                "show these files to the model with every question",
                self._add,
                path_values,
            ),
            SlashCommand(
                ("/drop",),
                "[FILE …]",
                "no longer; alone: none of them",
                self._drop,
                lambda _: self.conversation.paths,
            ),
            SlashCommand(("/files",), "", "list them", self._files),
            SlashCommand(("/diff",), "", "show what has changed since the last commit", self._diff),
            SlashCommand(("/undo",), "", "take back the last change", lambda _: undo(self.session)),
            SlashCommand(("/clear", "/new"), "", "forget the conversation so far", self._clear),
        )

    def ask(self, question: str) -> None:
        self.conversation.ask(question)

    def act(self, prompt: Prompt) -> None:
        try:
            super().act(prompt)
        except UserStopped:
            terminal.say("(stopped)")

    def _add(self, argument: str) -> None:
        for file in self.session.read(argument.split()):
            if file.name not in self.conversation.paths:
                self.conversation.paths.append(file.name)
            terminal.say(f"(added {file.name})")

    def _drop(self, argument: str) -> None:
        named = [self.session.workspace.name(path, new=True) for path in argument.split()]
        paths = self.conversation.paths
        self.conversation.paths = [path for path in paths if named and path not in named]

    def _files(self, _: str) -> None:
        terminal.say("\n".join(self.conversation.paths) or "(none; /add FILE adds one)")

    def _clear(self, _: str) -> None:
        self.conversation.turns.clear()
        terminal.say("(conversation cleared)")

    def _diff(self, _: str) -> None:
        from edgeinfer.code.change_review import reviewed_diff
        from edgeinfer.code.visible import visible

        diff = reviewed_diff(self.session.workspace, (), staged=False, revisions=None)
        self.session.screen.diff(map(visible, diff.rstrip("\n").split("\n")))


def undo(session: CodeSession) -> None:
    """Take back the last change, and say what was done."""
    for change in session.journal.undo():
        terminal.say(f"{'removed' if change.after is None else 'put back'} {change.name}")
