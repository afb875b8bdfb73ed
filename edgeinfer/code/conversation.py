"""A conversation about a project, in which the model can look around, propose edits and commands."""

from __future__ import annotations

from typing import Any

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Answer, Assistant, Message
from edgeinfer.code.budget import ContextBudget
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.repository_map import repository_map
from edgeinfer.code.text_file import TextFile
from edgeinfer.code.tools import TOOLS, Tools
from edgeinfer.errors import EdgeinferError

MAX_STEPS = 12
"""Answers with calls in a row; a small model may go round in circles."""

MAP_SHARE = 0.2


class Conversation:
    """Keeps the turns, and the files that every question is about.

    Attributes:
        paths: files of the workspace, which are read anew for each question.
    """

    def __init__(self, session: CodeSession, assistant: Assistant) -> None:
        self.session = session
        self.assistant = assistant
        self.paths: list[str] = []
        self.turns: list[Message] = []
        self._tools = Tools(session)

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
            self.session.say_budget(budget)
        answer = self.assistant.say(messages, budget, tools=TOOLS)
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
        budget.add("tools", str(TOOLS))
        turns = self._fitting_turns(budget)
        pieces = budget.add_fitting([(file.name, file.text) for file in self._files()])
        project = repository_map(self.session.workspace, budget, MAP_SHARE, self.paths)
        content = prompts.joined(system, *prompts.file_texts(pieces), project.prompt())
        return budget, [{"role": "system", "content": content}, *turns]

    def _fitting_turns(self, budget: ContextBudget) -> list[Message]:
        room = budget.left * 2 // 3 if self.paths else budget.left
        first = len(self.turns)
        used = 0
        while first > 0:
            used += budget.count(_text(self.turns[first - 1]))
            if used > room:
                break
            first -= 1
        # Neither an answer nor a result may come first.
        while first < len(self.turns) and self.turns[first]["role"] != "user":
            first += 1
        if first == len(self.turns):
            raise EdgeinferError(
                "the question, with what has been read for it, does not fit into the context",
                hint="/clear forgets the conversation; edgeinfer serve --ctx 8192 makes the context larger",
            )
        if first:
            self.session.screen.say(f"(the first {first} messages are left out: the context is full)")
        budget.add("conversation", "\n".join(map(_text, self.turns[first:])))
        return self.turns[first:]

    def _files(self) -> list[TextFile]:
        return self.session.read(self.paths) if self.paths else []


def _text(turn: Message) -> str:
    calls: list[Any] = turn.get("tool_calls") or []
    return str(turn["content"]) + "".join(str(call["function"]) for call in calls)
