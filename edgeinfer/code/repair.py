"""Mends files, until a command succeeds if there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Assistant
from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.command_run import CommandResult
from edgeinfer.code.edit_request import EditRequest
from edgeinfer.code.repository_map import repository_map

MAP_SHARE = 0.2
"""Of the context that files and output leave."""


class Repair:
    """Mends the files at some paths.

    Attributes:
        wish: what is wrong, in the user's words.
        command: a command that fails as long as something is wrong.
    """

    def __init__(
        self,
        session: CodeSession,
        assistant: Assistant,
        paths: Sequence[str],
        wish: str | None = None,
        command: str | None = None,
    ) -> None:
        self.session = session
        self.assistant = assistant
        self.paths = paths
        self.wish = wish
        self.command = command

    def run(self, rounds: int) -> bool:
        """Try at most `rounds` times; tell whether the command succeeds, or without one, whether a file has changed."""
        result = self._run_command()
        if self.command and (result is None or result.code == 0):
            if result:
                self.session.screen.say("it succeeds: there is nothing to mend")
            return result is not None
        for _ in range(rounds):
            if not self._mend(result):
                return False
            if self.command is None:
                return True
            result = self._run_command()
            if result is None:
                return False
            if result.code == 0:
                self.session.screen.say("it succeeds now")
                return True
        self.session.screen.say(f"it still fails after {rounds} round{'s' if rounds > 1 else ''}")
        return False

    def _run_command(self) -> CommandResult | None:
        return self.session.run(self.command, typed=True) if self.command else None

    def _mend(self, result: CommandResult | None) -> bool:
        files = self.session.read_to_change(self.paths)
        request = EditRequest(self.session, self.assistant, files)
        budget = request.budget()
        task = prompts.FIX_COMMAND.format(command=self.command) if self.command else prompts.FIX
        wish = prompts.joined(task if self.command or not self.wish else "", self.wish or "")
        budget.add("question", request.system + wish)
        pieces = request.add_files(budget, _mentioned(files[0].name, result.output) if result else ())
        output = self._output(budget, result) if result else ""
        project = repository_map(self.session.workspace, budget, MAP_SHARE, [file.name for file in files])
        self.session.say_budget(budget, project.coverage)
        text = prompts.joined(wish, *prompts.file_texts(pieces), output, project.prompt())
        return self.session.accept(request.ask(text, budget))

    def _output(self, budget: ContextBudget, result: CommandResult) -> str:
        """Return what the command wrote, as far as it fits; its end says most."""
        (piece,) = budget.add_fitting([("output", result.output)], [result.output.count("\n")])
        return prompts.fenced(f"Its output ({result}):", piece.text)


def _mentioned(name: str, output: str) -> list[int]:
    """Return the lines of a file that an output names, as Python, pytest and compilers do."""
    base = re.escape(name.rpartition("/")[2])
    pattern = re.compile(rf"{base}(?:\"|')?(?:, line |:|\()(\d{{1,7}})")
    return [int(number) for number in pattern.findall(output)]
