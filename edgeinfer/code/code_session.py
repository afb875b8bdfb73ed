"""What all commands of the assistant share: reading files, showing changes and asking, running commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.command_run import CommandResult, run_command
from edgeinfer.code.file_change import FileChange, file_change
from edgeinfer.code.sandbox import Sandbox, find_sandbox
from edgeinfer.code.screen import Screen
from edgeinfer.code.text_file import TextFile
from edgeinfer.code.undo_journal import UndoJournal
from edgeinfer.code.visible import visible
from edgeinfer.code.workspace import Workspace
from edgeinfer.errors import EdgeinferError


class UserStopped(Exception):
    """The user has answered a question with "quit"."""


class CodeSession:
    """Asks before it does anything, unless it was told that it may.

    Attributes:
        yes: changes of files, and commands that the user has typed, need no answer. They are shown all the same.
        dry_run: changes are only shown.
        sandbox: confines commands; None is the best that works here.
    """

    def __init__(
        self,
        workspace: Workspace,
        screen: Screen,
        *,
        yes: bool = False,
        dry_run: bool = False,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.workspace = workspace
        self.screen = screen
        self.yes = yes
        self.dry_run = dry_run
        self.journal = UndoJournal(workspace.root)
        self._sandbox = sandbox

    def read(self, paths: Iterable[str]) -> list[TextFile]:
        """Read the files that the user has named; those outside of the workspace only after asking."""
        return [self._read(path) for path in dict.fromkeys(paths)]

    def _read(self, path: str) -> TextFile:
        if not self.workspace.is_outside(path):
            return self.workspace.read(self.workspace.name(path))
        question = f"{visible(str(self.workspace.real(path)))} is outside of {self.workspace.root}. Read it?"
        if self.screen.ask(question, "yn") != "y":
            raise EdgeinferError(f"{visible(path)} was not read")
        return self.workspace.read_outside(path)

    def read_to_change(self, paths: Iterable[str]) -> list[TextFile]:
        """Read files that are to be changed, which have to be in the workspace."""
        return [self.workspace.read(self.workspace.name(path)) for path in dict.fromkeys(paths)]

    def say_budget(self, budget: ContextBudget, *more: str) -> None:
        """Show how the context is shared out, and what of the files is not in it."""
        self.screen.say(budget.line())
        for cut in (*budget.cuts(), *more):
            if cut:
                self.screen.say(f"  {cut}")

    def accept(self, changes: Sequence[FileChange]) -> bool:
        """Show changes, ask, and write them. Raises UserStopped, and what `UndoJournal.write` raises."""
        while True:
            self.screen.diff(line for change in changes for line in change.diff())
            if self.dry_run:
                return False
            answer = "y" if self.yes else self.screen.ask("Write this?", "yneq")
            if answer == "y":
                self._write(changes)
                return True
            if answer == "q":
                raise UserStopped
            if answer == "n":
                return False
            changes = self._edited(changes)

    def _write(self, changes: Sequence[FileChange]) -> None:
        names = ", ".join(change.name for change in changes)
        try:
            self.journal.write(list(changes))
        except OSError as e:
            raise EdgeinferError(f"{names}: {e.strerror}: nothing is written") from e
        self.screen.say(f"wrote {names}; to take it back: edgeinfer code undo")

    def _edited(self, changes: Sequence[FileChange]) -> list[FileChange]:
        edited = []
        for change in changes:
            file = self.existing_or_new(change.name)
            edited.append(file_change(file, self.screen.edit(change.new_text, change.name)))
        return edited

    def existing_or_new(self, name: str) -> TextFile:
        """Return a file of the workspace by its name, one without data if it does not exist."""
        name = self.workspace.name_from_root(name, new=True)
        exists = os.path.lexists(self.workspace.root / name)  # also for a name that is too long
        return self.workspace.read(name) if exists else TextFile(name)

    def run(self, line: str, *, typed: bool) -> CommandResult | None:
        """Show a command line, ask, and run it; None if the user does not want that.

        Args:
            typed: the user has typed it, so that `yes` holds for it.
        """
        if "\0" in line:
            raise EdgeinferError("a command has no zero byte")
        if self._sandbox is None:
            self._sandbox = find_sandbox(self.workspace.root)
        self.screen.output(f"$ {visible(line)}\n")
        self.screen.say(f"  ({self._sandbox})")
        answer = "y" if typed and self.yes else self.screen.ask("Run this?", "ynq")
        if answer == "q":
            raise UserStopped
        if answer == "n":
            return None
        result = run_command(line, self._sandbox, self.screen.output)
        self.screen.say(f"({result})")
        return result
