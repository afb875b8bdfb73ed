"""A screen that answers by a script, for tests of the code assistant without a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from edgeinfer.client.stream import Chunk
from edgeinfer.errors import EdgeinferError


class ScriptedScreen:
    """Keeps all that is shown; answers are one letter each, and then nobody answers any more."""

    def __init__(self, answers: str = "") -> None:
        self.answers = list(answers)
        self.said: list[str] = []
        self.answer = ""

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    def chunk(self, chunk: Chunk, *, text: bool) -> None:
        if text and chunk.kind == "answer":
            self.answer += chunk.text

    def end_answer(self) -> None: ...

    def say(self, text: str) -> None:
        self.said.append(text)

    def output(self, text: str) -> None:
        self.said.append(text)

    def diff(self, lines: Iterable[str]) -> None:
        self.said.extend(lines)

    def ask(self, question: str, answers: str) -> str:
        self.said.append(question)
        if not self.answers:
            raise EdgeinferError(f"nobody answers: {question}")
        assert self.answers[0] in answers
        return self.answers.pop(0)

    def edit(self, text: str, name: str) -> str:
        return text.upper()
