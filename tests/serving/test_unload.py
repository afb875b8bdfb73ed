"""Models are unloaded by hand, whatever they are doing."""

from __future__ import annotations

import asyncio
import time

import pytest

from edgeinfer.errors import ModelReplaced, ShuttingDown
from edgeinfer.inference.types import Span
from tests.support.registry import settle, world


async def test_unloading_waits_for_answers() -> None:
    """And the next request loads the model again."""
    async with world() as here:
        await here.ask("a")
        here.clients["a"][0].hold_first = 0.2
        busy = asyncio.create_task(here.ask("a"))
        await settle()
        assert await here.loader.unload(here.get("a"), 10.0)
        assert "a!" == await busy
        assert not await here.loader.unload(here.get("a"))
        assert "a!" == await here.ask("a")
        assert 2 == len(here.clients["a"])


async def test_an_unload_waits_for_a_load() -> None:
    """The request that the model was loaded for is answered."""
    async with world() as here:
        here.held.add("b")
        asking = asyncio.create_task(here.ask("b"))
        await settle()
        unloading = asyncio.create_task(here.loader.unload(here.get("b"), 10.0))
        await settle()
        assert "loading" == here.get("b").state
        here.held.clear()
        here.release("b")
        assert await unloading
        assert "b!" == await asking
        assert 2 >= len(here.clients["b"])


async def test_an_unload_cancels_a_load_that_takes_too_long() -> None:
    """Requests that wait for it are told; the next one loads the model."""
    async with world() as here:
        here.held.add("b")
        asking = asyncio.create_task(here.ask("b"))
        await settle()
        await here.loader.unload(here.get("b"), 0.1)
        with pytest.raises(ModelReplaced, match="b was unloaded before it was ready"):
            await asking
        assert ("unloaded", "stopped") == (here.get("b").state, here.clients["b"][0].state)
        here.held.clear()
        assert "b!" == await here.ask("b")


async def test_an_unload_cancels_a_load_that_waits_for_memory() -> None:
    """The busy models that it waited for go on."""
    async with world() as here:
        for name in "ab":
            await here.ask(name)
            here.clients[name][0].hold_first = 0.5
        busy = [asyncio.create_task(here.ask(name)) for name in "ab"]
        await settle()
        third = asyncio.create_task(here.ask("c"))
        await settle()
        assert not await here.loader.unload(here.get("c"))
        with pytest.raises(ModelReplaced):
            await third
        assert ["a!", "b!"] == await asyncio.gather(*busy)
        assert ["a", "b"] == here.loaded


async def test_unloads_at_the_same_time_are_one() -> None:
    """One does not let requests in while another waits for the model to become quiet."""
    async with world() as here:
        await here.ask("a")
        here.clients["a"][0].hold_first = 0.2
        busy = asyncio.create_task(here.ask("a"))
        await settle()
        unloads = [asyncio.create_task(here.loader.unload(here.get("a"), 10.0)) for _ in range(3)]
        await settle()
        later = asyncio.create_task(here.ask("a"))
        assert all(await asyncio.gather(*unloads))
        assert {"a!"} == set(await asyncio.gather(busy, later))
        assert [2, 1] == [len(client.requests) for client in here.clients["a"]]


async def test_unloads_and_requests_in_any_order() -> None:
    """Every request is answered."""
    async with world() as here:

        async def unload(name: str) -> None:
            for _ in range(30):
                await here.loader.unload(here.get(name), 10.0)
                await asyncio.sleep(0.001)

        async def ask(name: str) -> None:
            for _ in range(10):
                assert f"{name}!" == await here.ask(name)

        await asyncio.wait_for(asyncio.gather(*(f(name) for name in "abc" for f in (unload, ask, ask))), 60)


async def test_what_an_unload_cuts_off_is_told_why() -> None:
    """The service goes on, so that it is no shutdown."""
    async with world() as here:
        model = here.get("a")
        info = await model.ready()
        client = here.clients["a"][0]

        async def stopped(*_: object, **__: object) -> None:
            await here.loader.unload(model)
            raise ShuttingDown("the engine is closed")

        client.tokenize = client.embed = stopped  # type: ignore[method-assign, assignment]
        with pytest.raises(ModelReplaced, match="a was unloaded before"):
            await model.tokenize("somebody", [Span("Hi")], info=info)
        await here.ask("a")
        here.clients["a"][1].embed = stopped  # type: ignore[method-assign, assignment]
        with pytest.raises(ModelReplaced, match="a was unloaded before"):
            await model.embed("somebody", [[Span("Hi")]], info=info)


async def test_a_stop_ends_an_unload() -> None:
    """Whoever waits for it is told."""
    async with world() as here:
        await here.ask("a")
        here.clients["a"][0].hold_first = 30
        running = asyncio.create_task(here.ask("a"))
        await settle()
        unloading = asyncio.create_task(here.loader.unload(here.get("a"), 20.0))
        await settle()
        started = time.monotonic()
        await here.loader.close(0.0)
        with pytest.raises(ShuttingDown):
            await unloading
        assert time.monotonic() - started < 5
        running.cancel()
