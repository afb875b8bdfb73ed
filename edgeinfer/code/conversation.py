"""A conversation about a project, in which the model can look around, propose edits and commands."""

from __future__ import annotations

from typing import Any

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Answer, Assistant, Message
from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.repository_map import RepositoryMap, repository_map
from edgeinfer.code.text_file import TextFile
from edgeinfer.code.tools import OtherTools, Tools
from edgeinfer.errors import EdgeinferError

MAX_STEPS = 12
"""Answers with calls in a row; a small model may go round in circles."""

MAP_SHARE = 0.2

RESULT_SHARE = 50
"""Characters of a tool's result, in percent of the tokens of the context: a sixth of it, or so."""

LEFT_OUT = "[left out: the context is full]"


class Conversation:
    """Keeps the turns, and the files that every question is about.

    Attributes:
        paths: files of the workspace, which are read anew for each question.
    """

    def __init__(self, session: CodeSession, assistant: Assistant, others: OtherTools | None = None) -> None:
        """`others`: tools besides those for the project."""
        self.session = session
        self.assistant = assistant
        self.paths: list[str] = []
        self.turns: list[Message] = []
        self._map = RepositoryMap()
        self._mapped: tuple[list[str], list[str]] | None = None
        self._tools = Tools(session, assistant.model.context * RESULT_SHARE // 100, others)

    def ask(self, question: str) -> None:
        """Answer a question. One that fails, or that Ctrl-C stops, is forgotten; files stay as they are by then."""
        start = len(self.turns)
        self.turns.append({"role": "user", "content": question})
        try:
            for number in range(MAX_STEPS):
                if self._step(number):
                    return
        except BaseException:
            del self.turns[start:]
            raise
        self.session.screen.say(f"(stopped after {MAX_STEPS} steps; ask again to go on)")

    def _step(self, number: int) -> bool:
        """Let the model answer or call tools; tell whether it has answered."""
        budget, messages = self._request()
        if number == 0:
            self.session.say_budget(budget, self._map.coverage)
        answer = self.assistant.say(messages, budget, tools=self._tools.definitions)
        self._remember(answer, number)
        if not answer.calls:
            return True
        calls = self.turns[-1]["tool_calls"]
        for call, result in zip(calls, self._tools.results(answer.calls), strict=True):
            self.turns.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        return False

    def _remember(self, answer: Answer, number: int) -> None:
        turn: Message = {"role": "assistant", "content": answer.text}
        if answer.calls:
            turn["tool_calls"] = [
                {
                    "id": f"call_{len(self.turns)}_{number}_{i}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for i, call in enumerate(answer.calls)
            ]
        self.turns.append(turn)

    def _request(self) -> tuple[ContextBudget, list[Message]]:
        """Return the messages that fit: the system's, then as many turns as there is room for, the latest ones."""
        budget = self.assistant.budget()
        system = prompts.CONVERSE.format(root=self.session.workspace.root)
        budget.add("instructions", system)
        budget.add("tools", str(self._tools.definitions))
        project = self._project_map(budget)
        turns = self._fitting_turns(budget)
        pieces = budget.add_fitting([(file.name, file.text) for file in self._files()])
        content = prompts.joined(system, project.prompt(), *prompts.file_texts(pieces))
        return budget, [{"role": "system", "content": content}, *turns]

    def _project_map(self, budget: ContextBudget) -> RepositoryMap:
        """Return the map. It stays the same while the files do, so that the model need not read it again."""
        names = self.session.workspace.files()
        if self._mapped != (names, self.paths):
            self._mapped = names, list(self.paths)
            self._map = repository_map(self.session.workspace, budget, MAP_SHARE, self.paths)
        elif self._map.text:
            budget.add("map", self._map.text)
        return self._map

    def _fitting_turns(self, budget: ContextBudget) -> list[Message]:
        """Return the turns since the last question, and as many of those before as fit; says what is left out."""
        room = budget.left * 2 // 3 if self.paths else budget.left
        start = max(number for number, turn in enumerate(self.turns) if turn["role"] == "user")
        turns, used = self._shortened(self.turns[start:], budget, room)
        first = start
        while first > 0 and (used := used + budget.count(_text(self.turns[first - 1]))) <= room:
            first -= 1
        while (
            first < start and self.turns[first]["role"] != "user"
        ):  # neither an answer nor a result comes first
            first += 1
        if first:
            self.session.screen.say(f"(the first {first} messages are left out: the context is full)")
        turns = [*self.turns[first:start], *turns]
        budget.add("conversation", "\n".join(map(_text, turns)))
        return turns

    def _shortened(self, turns: list[Message], budget: ContextBudget, room: int) -> tuple[list[Message], int]:
        """Leave out results, the oldest first, until the turns fit; return them and their tokens.

        Raises:
            EdgeinferError: they do not fit without the results either.
        """
        counts = [budget.count(_text(turn)) for turn in turns]
        shortened = 0
        for number, turn in enumerate(turns[:-1]):
            if sum(counts) > room and turn["role"] == "tool":
                turns[number] = {**turn, "content": LEFT_OUT}
                counts[number] = budget.count(LEFT_OUT)
                shortened += 1
        if sum(counts) > room:
            raise EdgeinferError(
                "the question, with what has been read for it, does not fit into the context",
                hint="/clear forgets the conversation; edgeinfer serve --ctx 8192 makes the context larger",
            )
        if shortened:
            self.session.screen.say(f"({shortened} earlier results are left out: the context is full)")
        return turns, sum(counts)

    def _files(self) -> list[TextFile]:
        return self.session.read(self.paths) if self.paths else []


def _text(turn: Message) -> str:
    calls: list[Any] = turn.get("tool_calls") or []
    return str(turn["content"]) + "".join(str(call["function"]) for call in calls)
