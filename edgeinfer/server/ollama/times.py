"""Times in the form of RFC 3339 that every parser takes, Python 3.10's too: no Z, and six digits."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

FOREVER = timedelta(days=365 * 100)
"""Ollama's clients show a time so far ahead as "forever"."""


def now() -> str:
    return rfc3339(datetime.now(timezone.utc))


def from_timestamp(seconds: float) -> str:
    return rfc3339(datetime.fromtimestamp(seconds, timezone.utc))


def after(seconds: float | None) -> str:
    """The time in so many seconds; None is for ever."""
    wait = FOREVER if seconds is None else min(timedelta(seconds=min(seconds, 1e9)), FOREVER)
    return rfc3339(datetime.now(timezone.utc) + wait)


def rfc3339(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")


def nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
