"""GET /models/sse: what happens to models, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import NamedTuple

from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from edgeinfer.server.http.sse import EventStream
from edgeinfer.server.openai.model_card import LLAMA_STATES, FileProgress, LlamaState
from edgeinfer.server.openai.types import event
from edgeinfer.server.state import AppState, state_of
from edgeinfer.serving.downloads import Download

INTERVAL = 0.5
"""Seconds between two looks at the models' states. Who reads slowly misses states in between, but never the last."""

MAX_PENDING = 64
"""Downloads of which a client that does not read will get an event."""

ALL_MODELS = "*"

CONNECTED = b": connected\n\n"

DOWNLOAD_EVENTS = {
    "running": "download_progress",
    "finished": "download_finished",
    "failed": "download_failed",
    "cancelled": "download_failed",
}


class ModelEventData(Struct):
    """`exit_code` is not 0 if a load has failed."""

    status: LlamaState | UnsetType = UNSET
    exit_code: int | UnsetType = UNSET
    progress: dict[str, FileProgress] | UnsetType = UNSET


class ModelEvent(Struct):
    model: str
    event: str
    data: ModelEventData | UnsetType = UNSET


class SeenState(NamedTuple):
    """A model's state when a client was last told of it."""

    value: LlamaState
    failures: int


async def model_events(request: Request) -> Response:
    """A stream of events. It begins with the next one: GET /models has what was before."""

    async def start() -> AsyncGenerator[bytes, None]:
        return watch_models(state_of(request))

    async for _ in request.stream():  # the body, so that only the disconnect is left to receive
        pass
    return EventStream(start)


async def watch_models(state: AppState) -> AsyncGenerator[bytes, None]:
    """Events until the service stops."""
    changed = asyncio.Event()
    pending: dict[int, Download] = {}

    def note(download: Download) -> None:
        if len(pending) >= MAX_PENDING:
            del pending[next(iter(pending))]
        pending[id(download)] = download
        changed.set()

    state.downloads.listeners.append(note)
    seen = _states(state)
    try:
        yield CONNECTED
        while not state.stopping:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(changed.wait(), INTERVAL)
            changed.clear()
            downloads = list(pending.values())
            pending.clear()
            now = _states(state)
            events = [*map(_download_event, downloads), *_differences(seen, now)]
            seen = now
            for found in events:
                yield event(found)
    finally:
        state.downloads.listeners.remove(note)


def _states(state: AppState) -> dict[str, SeenState]:
    return {
        model.name: SeenState(LLAMA_STATES[model.state], model.failures) for model in state.registry.all()
    }


def _differences(seen: Mapping[str, SeenState], now: Mapping[str, SeenState]) -> Iterator[ModelEvent]:
    yield from (ModelEvent(name, "model_remove") for name in seen if name not in now)
    if any(name not in seen for name in now):
        yield ModelEvent(ALL_MODELS, "models_reload")
    for name, state in now.items():
        if (before := seen.get(name)) and before != state:
            yield _state_event(name, state, failed=state.failures > before.failures)


def _state_event(name: str, state: SeenState, *, failed: bool) -> ModelEvent:
    if state.value == "loading":
        return ModelEvent(name, "model_status", ModelEventData("loading"))
    data = ModelEventData(state.value)
    if state.value == "unloaded":
        data.exit_code = int(failed)
    return ModelEvent(name, "status_change", data)


def _download_event(download: Download) -> ModelEvent:
    data = ModelEventData()
    if download.state == "running":
        data.progress = download_progress(download)
    return ModelEvent(download.name, DOWNLOAD_EVENTS[download.state], data)


def download_progress(download: Download) -> dict[str, FileProgress]:
    """How much of a model is there; empty as long as its size is not known."""
    progress = download.progress
    if progress is None or progress.total is None:
        return {}
    return {download.name: FileProgress(progress.completed or 0, progress.total)}
