"""Models are loaded on demand and make room for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.errors import DoesNotFit, ModelLoadFailed, ModelNotFound, ModelReplaced, NotReady, ShuttingDown
from edgeinfer.inference.client import EngineExit
from edgeinfer.inference.fake import FakeEngineClient
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.types import Span
from edgeinfer.serving import evictor
from edgeinfer.serving import loader as loaders
from edgeinfer.serving.fake import FakeEngines
from tests.support.registry import PARAMS, settle, world


async def test_a_model_is_loaded_when_it_is_asked_for() -> None:
    """Once, however many ask at the same time."""
    async with world() as here:
        assert ["unloaded"] * 3 == [here.get(name).state for name in "abc"]
        assert ["b!"] * 5 == await asyncio.gather(*(here.ask("b") for _ in range(5)))
        assert ["b"] == here.loaded == here.engines.opened
        assert ("ready", "unloaded") == (here.get("b").state, here.get("a").state)


async def test_the_third_evicts_the_one_that_was_idle_longest() -> None:
    """And the default model goes last."""
    async with world() as here:
        for name in "abc":
            assert f"{name}!" == await here.ask(name)
        assert ["a", "c"] == here.loaded
        assert "stopped" == here.clients["b"][0].state
        assert "b!" == await here.ask("b")
        assert ["a", "b"] == here.loaded


async def test_a_busy_model_is_never_evicted() -> None:
    """The one that waits for its memory gets it when it is idle."""
    async with world() as here:
        await here.ask("a")
        await here.ask("b")
        for name in "ab":
            here.clients[name][0].hold_first = 1.0
        busy = [asyncio.create_task(here.ask(name)) for name in "ab"]
        await settle()
        third = asyncio.create_task(here.ask("c"))
        await settle()
        assert "loading" == here.get("c").state
        assert ["a", "b"] == here.loaded
        assert ["a!", "b!"] == await asyncio.gather(*busy)
        assert "c!" == await third
        assert ["a", "c"] == here.loaded


async def test_a_load_that_waits_for_memory_does_not_keep_others_waiting() -> None:
    """What fits beside the busy models is loaded meanwhile, and the one that waits gets its room afterwards."""
    async with world() as here:
        here.engines.capacity = 3
        here.engines.sizes["c"] = 3
        await here.ask("a")
        here.clients["a"][0].hold_first = 1.0
        busy = asyncio.create_task(here.ask("a"))
        await settle()
        large = asyncio.create_task(here.ask("c"))
        await settle()
        assert "loading" == here.get("c").state
        assert "b!" == await here.ask("b")
        assert not busy.done()
        assert ["a", "b"] == here.loaded
        assert ["a!", "c!"] == await asyncio.gather(*[busy, large])
        assert ["c"] == here.loaded


async def test_models_that_are_always_busy_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody starves: after some time a busy model finishes what it has and makes room."""
    monkeypatch.setattr(evictor, "MIN_RESIDENCY", 0.1)
    async with world() as here:
        done: list[str] = []

        async def client(name: str) -> None:
            while len(set(done)) < 3:
                done.append((await here.ask(name))[0])

        def slow(name: str) -> FakeEngineClient:
            engine = here.client(name)
            engine.hold_first = 0.02
            return engine

        here.engines.clients = {name: partial(slow, name) for name in "abc"}
        await asyncio.wait_for(asyncio.gather(*(client(name) for name in "aabbcc")), 20)
        assert {"a", "b", "c"} == set(done)


async def test_a_model_that_cannot_be_loaded_fails_its_own_requests_alone() -> None:
    """It evicts nothing for long, and is tried again later."""
    async with world() as here:
        here.broken.add("c")
        await here.ask("a")
        with pytest.raises(ModelLoadFailed, match="c is broken"):
            await here.ask("c")
        with pytest.raises(ModelLoadFailed, match="c is broken"):
            await here.ask("c")
        assert 1 == len(here.clients["c"])
        assert ("failed", ["a"]) == (here.get("c").state, here.loaded)
        assert "a!" == await here.ask("a")
        here.broken.clear()
        here.get("c").failed_at = -loaders.RETRY_PAUSE
        assert "c!" == await here.ask("c")


async def test_what_does_not_fit_at_all_evicts_nothing() -> None:
    """The others go on."""
    async with world() as here:
        here.engines.sizes["c"] = 3
        await here.ask("a")
        with pytest.raises(DoesNotFit):
            await here.ask("c")
        assert ["a"] == here.loaded


async def test_a_pinned_model_makes_room_for_none() -> None:
    """keep_alive = -1 in its table."""
    async with world(models={"b": {"keep_alive": -1.0}}) as here:
        await here.ask("a")
        await here.ask("b")
        await here.ask("c")
        assert ["b", "c"] == here.loaded


async def test_a_request_is_answered_by_the_model_it_was_made_for_or_told() -> None:
    """Its prompt holds another model's control tokens."""
    async with world() as here:
        model = here.get("a")
        info = await model.ready()
        here.clients["a"][0].model = replace(info, revision="a2")
        with pytest.raises(ModelReplaced):
            await anext(model.generate("somebody", [[Span("Hi")]], PARAMS, info=info))


async def test_a_retired_model_answers_what_waits_and_tells_the_rest() -> None:
    """As far as there is time."""
    async with world() as here:
        old = here.get("a")
        info = await old.ready()
        here.clients["a"][0].hold_first = 0.1
        waiting = [
            asyncio.create_task(_all(old.generate(i, [[Span("Hi")]], PARAMS, info=info))) for i in range(9)
        ]
        await settle()
        await here.loader.retire(old, 5.0)
        assert ["a!"] * 9 == await asyncio.gather(*waiting)
        with pytest.raises(ModelReplaced, match="a was replaced"):
            await anext(old.generate("somebody", [[Span("Hi")]], PARAMS, info=info))


async def _all(deltas: Any) -> str:
    return "".join([delta.text async for delta in deltas])


async def test_a_load_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is told; the load goes on."""
    async with world(load_timeout=0.1) as here:
        holding = asyncio.Event()

        async def start(self: FakeEngineClient) -> None:
            await holding.wait()
            self.state = "ready"

        monkeypatch.setattr(FakeEngineClient, "start", start)
        with pytest.raises(NotReady, match="a is not ready"):
            await here.ask("a")
        holding.set()
        await settle()
        assert "a!" == await here.ask("a")


async def test_a_stop_ends_loads_and_engines() -> None:
    """Nothing is loaded any more, and who waits is told."""
    async with world() as here:
        await here.ask("a")
        here.clients["a"][0].hold_first = 30
        running = asyncio.create_task(here.ask("a"))
        await settle()
        await here.loader.close(0.0)
        assert "stopped" == here.clients["a"][0].state
        with pytest.raises(ShuttingDown):
            await here.ask("b")
        running.cancel()


async def test_counters_go_on_when_a_model_is_loaded_again() -> None:
    """Otherwise what it did before would be missing from every rate; gauges begin anew."""
    async with world() as here:
        await here.ask("a")
        model, client = here.get("a"), here.clients["a"][0]
        assert (5, 7) == (model.stats.prompt_tokens_total, model.stats.cells_used)
        client.earlier_stats = EngineStats(prompt_tokens_total=100, cells_used=50)
        assert (105, 7) == (model.stats.prompt_tokens_total, model.stats.cells_used)
        await here.loader.unload(model)
        assert (105, 0) == (model.stats.prompt_tokens_total, model.stats.cells_used)
        await here.ask("a")
        assert (110, 7) == (model.stats.prompt_tokens_total, model.stats.cells_used)


async def test_a_list_of_models_uses_none() -> None:
    """Metrics and status have those that were loaded, or should have been."""
    async with world() as here:
        here.broken.add("c")
        assert ["a", "b", "c"] == [model.name for model in here.registry.all()]
        assert ["a"] == [model.name for model in here.registry.served()]
        with pytest.raises(ModelLoadFailed):
            await here.ask("c")
        assert ["a", "c"] == [model.name for model in here.registry.served()]


async def test_an_unknown_name_is_an_error() -> None:
    """Also of a model that is gone from the store."""
    async with world() as here:
        with pytest.raises(ModelNotFound):
            here.get("d")
        here.engines.clients = {**here.engines.clients, "d": here.engines.clients["a"]}
        model = here.get("d")
        here.engines.clients = {k: v for k, v in here.engines.clients.items() if k != "d"}
        with pytest.raises(ModelNotFound):
            await model.ready()


async def test_nothing_is_evicted_while_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it is idle; its requests go on, and the load waits."""
    async with world() as here:
        await here.ask("a")
        await here.ask("b")
        holding = asyncio.Event()

        async def hold(_engines: FakeEngines, *_: object, switched: Callable[[], None], **__: object) -> None:
            await holding.wait()
            switched()

        monkeypatch.setattr(FakeEngines, "replace", hold)
        model, switches = here.get("b"), list[bool]()
        assert model.plan
        replacing = asyncio.create_task(
            here.loader.replace(
                model, model.plan, beside=True, drain=1.0, switched=lambda: switches.append(True)
            )
        )
        await settle()
        third = asyncio.create_task(here.ask("c"))
        await settle()
        assert "b!" == await here.ask("b")
        with pytest.raises(NotReady, match="b is being reloaded"):
            await here.loader.unload(model, 0.1)
        assert (["a", "b"], []) == (here.loaded, switches)
        holding.set()
        assert await replacing
        assert [True] == switches
        assert "c!" == await third
        assert ["a", "c"] == here.loaded


async def test_what_is_not_loaded_cannot_be_replaced() -> None:
    """It is loaded in the new way when it is asked for."""
    async with world() as here:
        await here.ask("a")
        model = here.get("a")
        assert model.plan
        plan = model.plan
        await here.loader.unload(model)
        assert not await here.loader.replace(model, plan, beside=True, drain=1.0, switched=lambda: None)


async def test_nothing_is_loaded_after_a_stop() -> None:
    """Neither by a load that was about to begin."""
    async with world() as here:
        await here.ask("a")
        aclose = here.clients["a"][0].aclose

        async def slow(drain: float = 0.0) -> None:
            await asyncio.sleep(0.3)
            await aclose(drain)

        here.clients["a"][0].aclose = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(here.ask("b"))
        await asyncio.sleep(0)
        await here.loader.close(0.0)
        with pytest.raises(ShuttingDown):
            await asking
        assert ["a"] == here.engines.opened


def test_a_model_that_keeps_failing_is_tried_less_and_less_often() -> None:
    """Each attempt may evict a model that others use."""
    assert [5.0, 10.0, 20.0] == [loaders.retry_pause(failures) for failures in (1, 2, 3)]
    assert loaders.MAX_RETRY_PAUSE == loaders.retry_pause(1000)


async def test_the_exits_of_a_model_outlive_its_engine() -> None:
    """And are shown in the order in which they happened."""
    async with world() as here:
        for cause in ("first", "second"):
            await here.ask("b")
            here.clients["b"][-1].exits.append(EngineExit(0.0, cause, was_ready=True))
            await here.loader.unload(here.get("b"))
        assert ["first", "second"] == [exit.cause for exit in here.get("b").exits]
