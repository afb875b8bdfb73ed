"""What a check says."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeinfer.errors import EdgeinferError

Level = Literal["ok", "note", "warning", "error"]
"""note: good to know; warning: works, but badly, or not for long; error: does not work, or lets others in."""


class Finding(msgspec.Struct, frozen=True):
    """Attributes:
    check: the name of the check.
    text: one plain sentence.
    fix: a command or a sentence. There is always one where something is to be said.
    """

    check: str
    level: Level
    text: str
    fix: str | None = None

    def __post_init__(self) -> None:
        if self.level != "ok" and not self.fix:
            raise ValueError(f"{self.text!r} has no fix")


def from_error(check: str, error: EdgeinferError, otherwise: str) -> Finding:
    """What an error says; `otherwise` is the fix where it has no hint."""
    return Finding(check, "error", error.message, error.hint or otherwise)
