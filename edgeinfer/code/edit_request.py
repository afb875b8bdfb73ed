"""Asks the model for changes of files, in the form that suits their size, until they apply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Assistant, Message
from edgeinfer.code.budget import ContextBudget, Piece
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.edit import Edit, WholeFile, apply_edits, apply_whole_files
from edgeinfer.code.file_change import FileChange
from edgeinfer.code.text_file import TextFile
from edgeinfer.errors import EdgeinferError

MAX_WHOLE = 1000
"""Tokens of all files together up to which a model repeats them whole. Small models do that best."""

MAX_EDITS = 20
MAX_EXPLANATION = 400
TRIES = 3


class EditsAnswer(msgspec.Struct, frozen=True):
    """The answer where passages are replaced."""

    explanation: str
    edits: list[Edit]


class WholeAnswer(msgspec.Struct, frozen=True):
    """The answer where files are written anew."""

    explanation: str
    files: list[WholeFile]


class EditRequest:
    """One wish for a change of some files.

    Attributes:
        files: the only ones that the answer can change; those that do not exist yet have no data.
        whole: the answer has the files' whole content.
    """

    def __init__(
        self, session: CodeSession, assistant: Assistant, files: Sequence[TextFile], *, whole: bool = False
    ) -> None:
        self.session = session
        self.assistant = assistant
        self.files = {file.name: file for file in files}
        self.tokens = sum(assistant.count(file.text) for file in files)
        self.whole = whole or self.tokens <= MAX_WHOLE

    def budget(self) -> ContextBudget:
        """Return the context with enough room for an answer of the form that is asked for."""
        return self.assistant.budget(self.tokens * 5 // 4 + 400 if self.whole else None)

    def add_files(self, budget: ContextBudget, focus: Sequence[int] = ()) -> list[Piece]:
        """Put the files into the context, whole if the answer repeats them. Raises EdgeinferError if they do not fit."""
        texts = [(file.name, file.text) for file in self.files.values() if file.data is not None]
        if not self.whole:
            return budget.add_fitting(texts, focus)
        for name, text in texts:
            budget.add(name, text)
        return budget.pieces[len(budget.pieces) - len(texts) :]

    @property
    def system(self) -> str:
        return prompts.EDIT_WHOLE if self.whole else prompts.EDIT_BLOCKS

    def ask(self, wish: str, budget: ContextBudget) -> list[FileChange]:
        """Return what the model wants to change. An answer that does not apply is sent back with the reason.

        Raises:
            EdgeinferError: no answer applies.
        """
        messages: list[Message] = [
            {"role": "system", "content": self.system},
            {"role": "user", "content": wish},
        ]
        form: type[WholeAnswer | EditsAnswer] = WholeAnswer if self.whole else EditsAnswer
        for number in range(1, TRIES + 1):
            answer = self.assistant.fill_in(
                messages,
                budget,
                self._schema(),
                form,
                prediction=self._prediction(),
            )
            try:
                changes = self._changes(answer)
            except EdgeinferError as e:
                if number == TRIES:
                    raise
                self.session.screen.say(f"({e.message}; asking again)")
                content = msgspec.json.encode(answer).decode()
                problem = prompts.AGAIN.format(problem=e.message)
                budget.add("earlier answer", content + problem)
                messages += [
                    {"role": "assistant", "content": content},
                    {"role": "user", "content": problem},
                ]
                continue
            self.session.screen.say(answer.explanation)
            return changes
        raise AssertionError

    def _changes(self, answer: WholeAnswer | EditsAnswer) -> list[FileChange]:
        if isinstance(answer, WholeAnswer):
            return apply_whole_files(answer.files, self._file)
        return apply_edits(answer.edits, self._file)

    def _file(self, name: str) -> TextFile:
        if name not in self.files:  # the schema allows no others, but the server may be anybody's
            raise EdgeinferError(f"{name} is not among the files that were given")
        return self.files[name]

    def _schema(self) -> dict[str, Any]:
        name = {"enum": list(self.files)}
        if self.whole:
            return _object(
                explanation=_text(MAX_EXPLANATION),
                files=_list(_object(file=name, content={"type": "string"}), len(self.files)),
            )
        edit = _object(file=name, old={"type": "string"}, new={"type": "string"})
        return _object(explanation=_text(MAX_EXPLANATION), edits=_list(edit, MAX_EDITS))

    def _prediction(self) -> str:
        """Return an answer that would change nothing, which the real one repeats for the most part."""
        files = [{"file": file.name, "content": file.text} for file in self.files.values()]
        return msgspec.json.encode({"explanation": "", "files": files}).decode()


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(item: dict[str, Any], most: int) -> dict[str, Any]:
    return {"type": "array", "items": item, "minItems": 1, "maxItems": most}


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}
