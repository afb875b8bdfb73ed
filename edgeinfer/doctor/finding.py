"""Findings: what a check reports."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgeinfer.errors import EdgeinferError

Level = Literal["ok", "note", "warning", "error"]
"""note: good to know; warning: works, but badly or not for long; error: does not work, or is insecure."""


class Finding(msgspec.Struct, frozen=True):
    """One observation of a check.

    Attributes:
        check: the name of the check.
        text: one plain sentence.
        fix: a command or a sentence; required unless the level is "ok".
    """

    check: str
    level: Level
    text: str
    fix: str | None = None

    def __post_init__(self) -> None:
        if self.level != "ok" and not self.fix:
            raise ValueError(f"{self.text!r} has no fix")


def from_error(check: str, error: EdgeinferError, default_fix: str) -> Finding:
    """Turn an error into a finding; `default_fix` applies if the error has no hint."""
    return Finding(check, "error", error.message, error.hint or default_fix)
