"""Loads models on demand, makes room for them, and unloads those that have been idle for too long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence

from edgeinfer.errors import EdgeinferError, ModelReplaced, NotReady, shutting_down
from edgeinfer.inference.client import EngineClient
from edgeinfer.plan import Plan
from edgeinfer.serving.engines import EngineFactory, Planner, RunningEngine
from edgeinfer.serving.evictor import Evictor, RoomRequest
from edgeinfer.serving.expiry import IdleExpiry
from edgeinfer.serving.model import ServedModel

logger = logging.getLogger(__name__)

RETRY_PAUSE = 5.0
"""Seconds after a failed load during which further requests get its error at once. Each failure doubles them."""

MAX_RETRY_PAUSE = 300.0

MIN_REQUESTED = 1.0
"""Seconds that a model stays loaded after a request for which it need not stay."""

POLL = 0.1
"""Seconds between two checks of an engine that is starting."""


class ModelLoader:
    """Decides which models are loaded. One is loaded at a time, planned with the memory that is left.

    Attributes:
        default: the model that is evicted last; it only expires if `idle_unload` is set.
        expiry: unloads idle models; it must be told when a keep-alive changes.
    """

    def __init__(
        self, engines: EngineFactory, load_timeout: float, emptied: Callable[[], None] = lambda: None
    ) -> None:
        """`emptied` is called when the last model has been unloaded, and none is being loaded."""
        self.default: ServedModel | None = None
        self._engines = engines
        self._load_timeout = load_timeout
        self._emptied = emptied
        self._loaded: list[ServedModel] = []
        self._loads: set[asyncio.Task[None]] = set()
        self._unloads: dict[ServedModel, asyncio.Task[bool]] = {}
        self._closing: set[asyncio.Task[bool]] = set()
        self._turn = asyncio.Lock()
        self._stopped = False
        self._evictor = Evictor(
            engines,
            loaded=lambda: self.loaded,
            is_default=lambda model: model is self.default,
            end=self._end,
            closed=lambda: asyncio.gather(*self._closing),
            timeout=load_timeout,
        )
        self.expiry = IdleExpiry(lambda: self.loaded, self.keep_alive, self._end)

    @property
    def loaded(self) -> Sequence[ServedModel]:
        """Models that have an engine, in the order in which they were loaded."""
        return tuple(self._loaded)

    async def client(self, model: ServedModel) -> EngineClient:
        """The engine of `model`, which is loaded first if necessary.

        Raises:
            NotReady: loading takes too long.
            EdgeinferError: why the model cannot be loaded.
        """
        deadline = time.monotonic() + self._load_timeout
        while True:
            if self._stopped:
                raise shutting_down()
            if model.loading is None and model.client is not None:
                return model.client
            if model.retired:
                raise ModelReplaced(
                    f"{model.name} was replaced before this answer began",
                    hint="send the request again",
                    retry_after=1,
                )
            await self._wait_for_load(model, deadline)

    async def _wait_for_load(self, model: ServedModel, deadline: float) -> None:
        task = self.start(model)
        await asyncio.wait([task], timeout=max(0.0, deadline - time.monotonic()))
        if not task.done():
            raise _not_ready(model)
        if task.cancelled():
            raise shutting_down() if self._stopped else _unloaded(model)
        task.result()

    def start(self, model: ServedModel, plan: Plan | None = None) -> asyncio.Task[None]:
        """Begin to load `model` unless it is being loaded, with `plan` if one has just been made.

        Raises:
            EdgeinferError: loading has failed a moment ago, and would probably fail again.
        """
        if model.loading is None:
            if model.last_error and time.monotonic() - model.failed_at < retry_pause(model.failures):
                raise model.last_error
            model.loading = asyncio.create_task(self._load(model, plan))
            self._loads.add(model.loading)
            model.loading.add_done_callback(self._loads.discard)
            model.loading.add_done_callback(_retrieve)
        return model.loading

    async def unload(self, model: ServedModel, patience: float = 0.0) -> bool:
        """Unload `model` once it is idle, or else after `patience` seconds; -> True if it was loaded.

        A load may finish first, as running requests may. What is not done by then ends with an error; requests
        that wait load the model again. Unloads at the same time are one.
        """
        if model not in self._unloads:
            task = asyncio.create_task(self._unload(model, time.monotonic() + patience))
            self._unloads[model] = task
            task.add_done_callback(lambda _: self._unloads.pop(model))
        task = self._unloads[model]
        await asyncio.wait([task])
        if task.cancelled():
            raise shutting_down()
        return task.result()

    async def _unload(self, model: ServedModel, deadline: float) -> bool:
        model.pause()
        try:
            await _until_unused(model, deadline)
            if model.replacing:
                raise NotReady(f"{model.name} is being reloaded", retry_after=5)
            await self._cancel_load(model)
            return await self._end(model)
        finally:
            model.resume()

    async def _cancel_load(self, model: ServedModel) -> None:
        if model.loading:
            model.loading.cancel()
            await asyncio.wait([model.loading])

    async def replace(
        self,
        model: ServedModel,
        plan: Plan,
        *,
        beside: bool,
        drain: float,
        switched: Callable[[], None],
    ) -> bool:
        """Let the engine of `model` continue with `plan`, see EngineFactory; -> False if it has no engine.

        Nothing is loaded or evicted meanwhile.
        """
        async with self._turn:
            engine = model.engine
            if engine is None:
                return False

            def switch() -> None:
                model.engine = RunningEngine(engine.client, plan)
                switched()

            model.replacing = True
            try:
                await self._engines.replace(engine.client, plan, beside=beside, drain=drain, switched=switch)
            finally:
                model.replacing = False
        model.queue.admit()
        return True

    async def best_plan(self, planner: Planner, replaced: ServedModel) -> Plan:
        """The plan for a model in place of another one, as if all models had made room that can."""
        return await self._evictor.best_plan(planner, replaced)

    async def plan_in_place(self, planner: Planner, best: Plan, replaced: ServedModel) -> Plan:
        """The plan for a model in place of another one, once idle models have made room; busy ones stay.

        Raises:
            DoesNotFit: there is not enough memory without that of busy models.
        """
        async with self._turn:
            return await self._evictor.plan_in_place(planner, best, replaced)

    async def retire(self, model: ServedModel, drain: float) -> None:
        """Let `model` finish its requests, for at most `drain` seconds, then unload it permanently."""
        await model.queue.idle(drain)
        model.retired = True
        await self._cancel_load(model)
        await self._end(model)

    async def close(self, drain: float) -> None:
        """Unload everything; running requests get `drain` seconds."""
        self._stopped = True
        self.expiry.stop()
        clients = [model.client for model in self._loaded if model.client]
        await asyncio.gather(*(client.aclose(drain) for client in clients), return_exceptions=True)
        tasks = [*self._loads, *self._unloads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._closing, return_exceptions=True)

    async def kill(self) -> None:
        """End all engines at once; their requests get an error."""
        self._stopped = True
        await asyncio.gather(*(model.client.kill() for model in self._loaded if model.client))

    # --- loading

    async def _load(self, model: ServedModel, plan: Plan | None) -> None:
        try:
            await self._load_in_turn(model, plan)
        except EdgeinferError as e:
            model.last_error, model.failed_at = e, time.monotonic()
            model.failures += 1
            raise
        finally:
            model.loading = None
        model.queue.admit()
        self.expiry.update()

    async def _load_in_turn(self, model: ServedModel, plan: Plan | None) -> None:
        """Load `model` once there is room. Others may be loaded while it waits for that."""
        room: RoomRequest | None = None
        while True:
            async with self._turn:
                if model.client is not None:
                    return
                if plan is None:
                    room = room or await self._evictor.request(model)
                    plan = await self._evictor.make_room(room)
                if plan is not None:
                    await self._open(model, plan)
                    return
            assert room
            await self._evictor.wait_for_room(room)

    async def _open(self, model: ServedModel, plan: Plan) -> None:
        if self._stopped:
            raise shutting_down()  # `close` ends only what it sees
        client = self._engines.open(plan, model.settings)
        model.attach(RunningEngine(client, plan))
        self._loaded.append(model)
        try:
            await client.start()
            await _until_ready(client)
        except BaseException:
            if not self._stopped:
                await self._end(model)
            raise
        model.last_error, model.failures = None, 0

    # --- unloading

    def _end(self, model: ServedModel) -> asyncio.Future[bool]:
        """Detach the engine of `model` at once, and close it; -> True if there was one, when it is closed."""
        engine = model.detach()
        if model in self._loaded:
            self._loaded.remove(model)
        closing = asyncio.create_task(_close(engine))
        self._closing.add(closing)
        closing.add_done_callback(self._closed)
        return asyncio.shield(closing)

    def _closed(self, closing: asyncio.Task[bool]) -> None:
        self._closing.discard(closing)
        if not (self._loaded or self._loads or self._stopped):
            self._emptied()

    def keep(self, model: ServedModel, seconds: float) -> None:
        """Let a loaded model stay for so many seconds after its last request, infinity is for ever.

        That holds until it is unloaded. Unlike the setting, it does not keep the model from making room for others.
        It stays for a moment in any case: the next request may be on its way to it.
        """
        if model.client and model.requested_keep_alive != seconds:
            model.requested_keep_alive = max(seconds, MIN_REQUESTED)
            self.expiry.update()

    def keep_alive(self, model: ServedModel) -> float | None:
        """Seconds after its last request until `model` is unloaded; None means never."""
        if (requested := model.requested_keep_alive) is not None:
            return None if requested == math.inf else requested
        if model is self.default:
            return model.settings.idle_unload
        return None if model.is_pinned else model.settings.keep_alive


def retry_pause(failures: int) -> float:
    """Return the seconds to wait after failed loads in a row: each attempt may evict models that others use."""
    return min(MAX_RETRY_PAUSE, RETRY_PAUSE * 2.0 ** min(failures - 1, 10))


async def _until_ready(client: EngineClient) -> None:
    """Wait until the model is loaded. Raises the error if loading fails."""
    while not await _is_ready(client):  # noqa: ASYNC110  # ready() waits; the pause only keeps this from spinning
        await asyncio.sleep(POLL)


async def _is_ready(client: EngineClient) -> bool:
    try:
        await client.ready()
    except NotReady:
        if client.health.state in ("failed", "stopped"):
            raise
        return False
    return True


async def _until_unused(model: ServedModel, deadline: float) -> None:
    """Wait until neither a load nor a request is at work on `model`, but no longer than until `deadline`."""
    while (left := deadline - time.monotonic()) > 0:
        if model.loading:
            await asyncio.wait([model.loading], timeout=left)
        elif model.running:
            await model.quiet(left)
        elif model.replacing:
            await asyncio.sleep(min(POLL, left))
        else:
            return


async def _close(engine: RunningEngine | None) -> bool:
    if engine:
        await engine.client.aclose()
    return engine is not None


def _unloaded(model: ServedModel) -> ModelReplaced:
    return ModelReplaced(
        f"{model.name} was unloaded before it was ready", hint="send the request again", retry_after=1
    )


def _retrieve(task: asyncio.Task[None]) -> None:
    """Mark the error as retrieved: requests get it, and if none waits, it does not matter."""
    if not task.cancelled():
        with contextlib.suppress(Exception):
            task.result()


def _not_ready(model: ServedModel) -> NotReady:
    """The error for a request that has waited too long for `model`."""
    return NotReady(
        f"{model.name} is not ready ({model.state})", hint="GET /ready shows when it is ready", retry_after=5
    )
