"""Makes room for a model: plans it, and unloads idle models until the plan fits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from edgeinfer.errors import DoesNotFit, NotReady
from edgeinfer.plan import Plan
from edgeinfer.plan.reasons import shortage
from edgeinfer.serving.engines import EngineFactory, Planner
from edgeinfer.serving.eviction import choose_evictions, is_adequate
from edgeinfer.serving.model import ServedModel

logger = logging.getLogger(__name__)

MIN_RESIDENCY = 10.0
"""Seconds that a busy model keeps its memory before another one gets its turn."""


class RoomRequest(NamedTuple):
    """A model that is to be loaded.

    Attributes:
        best: its plan as if all models had made room that can.
        deadline: by the monotonic clock.
    """

    model: ServedModel
    planner: Planner
    best: Plan
    deadline: float


class Evictor:
    """Unloads idle models for others, least recently used first, the default model last.

    A busy model is never unloaded: once it has had MIN_RESIDENCY seconds it admits no more requests, finishes those it
    has, and then makes room. One model is planned at a time, so that each finds the memory that is left.
    """

    def __init__(
        self,
        engines: EngineFactory,
        *,
        loaded: Callable[[], Sequence[ServedModel]],
        is_default: Callable[[ServedModel], bool],
        end: Callable[[ServedModel], Awaitable[object]],
        closed: Callable[[], Awaitable[object]],
        timeout: float,
    ) -> None:
        """`end` unloads a model; `closed` waits for unloads that have begun; `timeout` is for room, in seconds."""
        self._engines = engines
        self._loaded = loaded
        self._is_default = is_default
        self._end = end
        self._closed = closed
        self._timeout = timeout
        self._draining = asyncio.Lock()

    async def request(self, model: ServedModel) -> RoomRequest:
        """Plan `model` as if all others had made room. Raises DoesNotFit: it would not fit even alone."""
        planner = await asyncio.to_thread(self._engines.planner, model.name, model.settings)
        movable = self._movable([model])
        best = await self._plan(planner, movable)
        if best.fits is False and movable and not model.settings.force:
            raise DoesNotFit(f"{model.name} {shortage(best.memory, best.budget)}", param="model")
        return RoomRequest(model, planner, best, time.monotonic() + self._timeout)

    async def make_room(self, request: RoomRequest) -> Plan | None:
        """Unload idle models until the model fits; -> its plan, None if busy ones would have to make room."""
        while True:
            await self._closed()
            movable = self._movable([request.model])
            chosen = await self._choose(movable, self._fits(request.planner, request.best))
            if chosen is None:
                return None
            if any(other.busy for other in chosen):  # a request has arrived meanwhile
                continue
            await self._evict(chosen, request.model.name)
            return await self._plan(request.planner, [])

    async def wait_for_room(self, request: RoomRequest) -> None:
        """Wait until there may be more room; one model at a time has another one drained for it.

        Raises:
            NotReady: the models that would have to make room stay busy for too long.
        """
        if self._draining.locked():
            async with self._draining:
                return
        async with self._draining:
            await self._drain(request.model, self._movable([request.model]), request.deadline)

    async def best_plan(self, planner: Planner, replaced: ServedModel) -> Plan:
        """The plan for a model in place of another one, as if all models had made room that can."""
        return await self._plan(planner, [replaced, *self._movable([replaced])])

    async def plan_in_place(self, planner: Planner, best: Plan, replaced: ServedModel) -> Plan:
        """The plan for a model in place of another one, once idle models have made room; busy ones stay.

        Raises:
            DoesNotFit: there is not enough memory without that of busy models.
        """
        fits = self._fits(planner, best, [replaced])
        chosen = await self._choose(self._movable([replaced]), fits) or []
        await self._evict([other for other in chosen if not other.busy], best.config.name)
        return await self._plan(planner, [replaced])

    def _movable(self, others: Sequence[ServedModel]) -> list[ServedModel]:
        """Loaded models besides `others` that can make room."""
        return [model for model in self._loaded() if model not in others and not model.is_pinned]

    async def _choose(
        self, movable: Sequence[ServedModel], fits: Callable[[Sequence[ServedModel]], bool]
    ) -> list[ServedModel] | None:
        """Idle models to unload; None if that is not enough."""
        idle = sorted((m for m in self._loaded() if m in movable and not m.busy), key=self._order)
        return await asyncio.to_thread(choose_evictions, idle, fits)

    async def _evict(self, models: Sequence[ServedModel], newcomer: str) -> None:
        for model in models:
            logger.info("unloading %s to make room for %s", model.name, newcomer)
        await asyncio.gather(*[self._end(model) for model in models])

    async def _plan(self, planner: Planner, leaving: Sequence[ServedModel]) -> Plan:
        return await asyncio.to_thread(self._planned, planner, leaving)

    def _planned(self, planner: Planner, leaving: Sequence[ServedModel]) -> Plan:
        engines = {model: engine for model in self._loaded() if (engine := model.engine)}
        staying = [engine for model, engine in engines.items() if model not in leaving]
        return planner(staying, [engines[model] for model in leaving if model in engines])

    def _fits(
        self, planner: Planner, best: Plan, replaced: Sequence[ServedModel] = ()
    ) -> Callable[[Sequence[ServedModel]], bool]:
        def fits(leaving: Sequence[ServedModel]) -> bool:
            try:
                return is_adequate(self._planned(planner, [*replaced, *leaving]), best)
            except DoesNotFit:
                return False

        return fits

    async def _drain(self, model: ServedModel, movable: Sequence[ServedModel], deadline: float) -> None:
        """Wait until a busy model has become idle; its new requests wait meanwhile."""
        busy = sorted((other for other in self._loaded() if other in movable and other.busy), key=self._order)
        if not busy:
            return  # one has just become idle
        now = time.monotonic()
        if now >= deadline:
            names = ", ".join(other.name for other in busy)
            raise NotReady(
                f"there is not enough memory for {model.name} while {names} is busy", retry_after=5
            )
        rested = [other for other in busy if now - other.loaded_at >= MIN_RESIDENCY]
        if not rested:
            await asyncio.sleep(min(MIN_RESIDENCY / 10, deadline - now))
            return
        victim = min(rested, key=lambda other: other.loaded_at)
        victim.pause()
        try:
            if await victim.quiet(deadline - now):
                logger.info("unloading %s to make room for %s, which is waiting", victim.name, model.name)
                await self._end(victim)
        finally:
            victim.resume()

    def _order(self, model: ServedModel) -> tuple[bool, float]:
        """Sort key: the model that is evicted first has the lowest."""
        return self._is_default(model), model.last_used
