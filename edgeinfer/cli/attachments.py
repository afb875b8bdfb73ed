"""Files that go into the next message of a conversation, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.cli.chat_session import ChatSession
from edgeinfer.cli.text_input import read_text
from edgeinfer.client.listed_models import find_model, listed_models
from edgeinfer.client.token_counter import TokenCounter
from edgeinfer.code.prompts import fenced, joined
from edgeinfer.errors import InvalidRequest


class Attachment(msgspec.Struct, frozen=True):
    """A text file for the next message."""

    name: str
    text: str


class Attachments:
    """Keeps the files for the next message, and counts them against the context.

    Attributes:
        files: those of the next message, in the order in which they were named.
    """

    def __init__(self, session: ChatSession) -> None:
        self.files: list[Attachment] = []
        self._session = session
        self._counter = TokenCounter(session.client, session.target)

    def add(self, path: Path) -> None:
        """Read a file, in place of what has been read of it before.

        Raises:
            InvalidRequest: it is no text, or alone larger than the context.
        """
        file = Attachment(str(path), read_text(path))
        tokens, context = self._count(file.text), self._context()
        if context is not None and tokens >= context:
            raise InvalidRequest(
                f"{path} has {self._number(tokens)} tokens, and the model's context {context:,}",
                hint="serve the model with a larger context: edgeinfer serve --ctx N",
            )
        self.files = [*(other for other in self.files if other.name != file.name), file]

    def message(self, question: str) -> str:
        """Return the next message: the files, then the question."""
        return joined(*(fenced(f"File {file.name}:", file.text) for file in self.files), question)

    def summary(self) -> str:
        """Say what the files take of the context, and how much of it is left."""
        sizes = [self._count(file.text) for file in self.files]
        names = ", ".join(
            f"{file.name} {self._number(size)} tokens" for file, size in zip(self.files, sizes, strict=True)
        )
        said = sum(self._count(turn.get("content") or "") for turn in self._session.messages())
        before = f"; the conversation so far {self._number(said)}" if said else ""
        context = self._context()
        if context is None:
            return f"(next message: {names}{before})"
        left = context - said - sum(sizes)
        if left > 0:
            return f"(next message: {names}{before}; {left:,} of {context:,} are left)"
        return (
            f"(next message: {names}{before}: {-left:,} more than the context of {context:,}; "
            "/drop takes the files out, /clear forgets the conversation)"
        )

    def _count(self, text: str) -> int:
        return self._counter.count(text, self._session.model)

    def _number(self, tokens: int) -> str:
        return f"{'' if self._counter.exact else 'about '}{tokens:,}"

    def _context(self) -> int | None:
        models = listed_models(self._session.client, self._session.target)
        model = find_model(models, self._session.model)
        return model.context if model else None
