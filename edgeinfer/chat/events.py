"""What an answer is made of, in the order in which it is heard."""

from __future__ import annotations

import msgspec


class Reasoning(msgspec.Struct, frozen=True):
    """More of what the model thinks."""

    text: str


class Content(msgspec.Struct, frozen=True):
    """More of what it says."""

    text: str


class CallBegin(msgspec.Struct, frozen=True):
    """It calls a tool. `index` counts the calls of one answer from 0."""

    index: int
    id: str
    name: str


class CallArguments(msgspec.Struct, frozen=True):
    """More of a call's arguments; the pieces of one call add up to one JSON object."""

    index: int
    text: str


Event = Reasoning | Content | CallBegin | CallArguments
