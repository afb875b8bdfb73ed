"""Conversations in files: what `/save` writes and `/load` reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgeinfer.cli.chat_parameters import ChatParameters
from edgeinfer.cli.json_input import read_json
from edgeinfer.errors import InvalidRequest


class SavedMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message in the form of OpenAI's API."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class SavedConversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation with what it was led with.

    Attributes:
        model: the one that answered last, if that is known.
    """

    messages: list[SavedMessage]
    model: str | None = None
    parameters: ChatParameters = ChatParameters()


def save_conversation(file: Path, conversation: SavedConversation, *, overwrite: bool) -> None:
    """Write a conversation to a file that only this user can read.

    Raises:
        InvalidRequest: there is such a file, and it may not be overwritten.
    """
    data = msgspec.json.format(msgspec.json.encode(conversation)) + b"\n"
    if overwrite:
        part = file.with_name(file.name + ".part")
        _write(part, data, os.O_TRUNC)
        part.replace(file)
        return
    try:
        _write(file, data, os.O_EXCL)
    except FileExistsError:
        raise InvalidRequest(
            f"{file} exists", hint="choose another name, or remove that file first"
        ) from None


def load_conversation(file: Path) -> SavedConversation:
    """Read a conversation, or a list of messages that another program has written.

    Raises:
        InvalidRequest: the file is neither.
    """
    content = read_json(file)
    if isinstance(content, list):
        content = {"messages": content}
    try:
        return msgspec.convert(content, SavedConversation)
    except msgspec.ValidationError as e:
        raise InvalidRequest(
            f"{file}: this is no conversation: {e}",
            hint='it should have "messages", each with "role" and "content", as OpenAI\'s API takes them',
        ) from None


def _write(file: Path, data: bytes, flag: int) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | flag, 0o600), "wb") as stream:
        stream.write(data)
