"""The parts of an answer, in the order in which they arrive."""

from __future__ import annotations

import msgspec


class Reasoning(msgspec.Struct, frozen=True):
    """More of the model's thoughts."""

    text: str


class Content(msgspec.Struct, frozen=True):
    """More of the text of its answer."""

    text: str


class CallBegin(msgspec.Struct, frozen=True):
    """The beginning of a tool call. `index` counts the calls of one answer from 0."""

    index: int
    id: str
    name: str


class CallArguments(msgspec.Struct, frozen=True):
    """More of a call's arguments. The texts of one call add up to one JSON object."""

    index: int
    text: str


Event = Reasoning | Content | CallBegin | CallArguments
