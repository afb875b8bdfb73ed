"""The body of GET /status, as far as commands and doctor read it."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from edgeinfer.client.http import ADDRESS_HINT, Target, get_json
from edgeinfer.errors import EdgeinferError


class PlanReply(msgspec.Struct, frozen=True):
    """The plan that the daemon runs by."""

    config: dict[str, Any] = {}
    reasons: list[str] = []


class SettingReply(msgspec.Struct, frozen=True):
    """A setting and where it comes from."""

    value: Any
    source: str


class ModelReply(msgspec.Struct, frozen=True):
    """One of the models that the daemon can serve.

    Attributes:
        state: unloaded, loading, ready, restarting, reloading or failed.
        memory: bytes it takes; None if that is not known.
        active: requests in progress.
        last_used: seconds since the last request; None if there was none.
    """

    name: str
    state: str
    default: bool = False
    path: str | None = None
    memory: int | None = None
    restarts: int = 0
    active: int = 0
    last_used: float | None = None
    error: str | None = None


class EngineReply(msgspec.Struct, frozen=True):
    """The library that computes the default model."""

    name: str
    version: str
    isa: list[str] = []
    apis: list[str] = []
    variant: str | None = None


class StatusReply(msgspec.Struct, frozen=True):
    """The daemon's report on itself. A daemon of another version may say less, or more.

    What is not in `models` is about the default model.
    """

    version: str
    pid: int
    uptime: float = 0.0
    state: str = "unknown"
    restarts: int = 0
    last_exit: str | None = None
    reason: str | None = None
    worker_pid: int | None = None
    model: dict[str, Any] | None = None
    stats: dict[str, Any] = {}
    plan: PlanReply = PlanReply()
    settings: dict[str, SettingReply] = {}
    resumed: int = 0
    fallback: list[str] = []
    confinement: dict[str, str | None] = {}
    engine: EngineReply | None = None
    reload: dict[str, Any] | None = None
    models: list[ModelReply] = []


def get_status(client: httpx.Client, target: Target) -> StatusReply:
    """Ask a daemon for its report."""
    return parse_status(get_json(client, target, "/status"), target)


def parse_status(body: Any, target: Target) -> StatusReply:
    """Read the JSON of /status; raises EdgeinferError if it is not a daemon's."""
    try:
        return msgspec.convert(body, StatusReply)
    except msgspec.ValidationError as e:
        raise EdgeinferError(f"{target}/status: {e}", hint=ADDRESS_HINT) from e
