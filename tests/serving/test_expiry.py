"""Models that have been idle for long are unloaded."""

from __future__ import annotations

import asyncio
import math

import psutil
import pytest
from msgspec.structs import replace

from edgeinfer.grammar.source import Grammar
from edgeinfer.serving.loader import MIN_REQUESTED
from tests.support.registry import world


@pytest.mark.parametrize(("idle_unload", "expected"), [(None, ["a"]), (0.2, [])])
async def test_idle_models_expire(idle_unload: float | None, expected: list[str]) -> None:
    """The default one only if that is wanted; a busy one not."""
    async with world(keep_alive=0.1, idle_unload=idle_unload) as here:
        await here.ask("a")
        await here.ask("b")
        here.clients["b"][0].hold_first = 0.5
        busy = asyncio.create_task(here.ask("b"))
        await asyncio.sleep(0.3)
        assert "b" in here.loaded
        assert "b!" == await busy
        await asyncio.sleep(0.6)
        assert expected == here.loaded
        assert "b!" == await here.ask("b")


async def test_each_model_has_a_time_of_its_own() -> None:
    """A short one counts although one that is longer began before it."""
    async with world(keep_alive=300.0, models={"c": {"keep_alive": 0.0}}) as here:
        await here.ask("b")
        await asyncio.sleep(0.05)
        await here.ask("c")
        await asyncio.sleep(0.5)
        assert ["b"] == here.loaded


async def test_a_new_time_counts_at_once() -> None:
    """Also for models that were to stay for ever; none is loaded again for that."""
    async with world(keep_alive=300.0) as here:
        await here.ask("a")
        await here.ask("b")
        here.registry.configure(replace(here.state.settings, keep_alive=0.1, idle_unload=0.1), "a")
        assert [] == here.registry.outdated()
        await asyncio.sleep(0.6)
        assert [] == here.loaded


async def test_a_caller_can_say_how_long_a_model_stays() -> None:
    """Until it is unloaded: then the settings count again. It makes room for others all the same."""
    async with world(keep_alive=300.0) as here:
        await here.ask("a")
        await here.ask("b")
        model = here.get("b")
        here.loader.keep(model, math.inf)
        assert here.loader.expiry.seconds_left(model) is None
        assert not model.is_pinned
        await here.ask("c")
        assert "c" in here.loaded
        assert "b" not in here.loaded
        await here.ask("b")
        left = here.loader.expiry.seconds_left(model)
        assert left
        assert 290 < left <= 300
        here.loader.keep(model, 60.0)
        left = here.loader.expiry.seconds_left(model)
        assert left
        assert left <= 60


async def test_a_model_that_need_not_stay_waits_a_moment_for_the_next_request() -> None:
    """Which may be on its way."""
    async with world(keep_alive=300.0) as here:
        await here.ask("b")
        here.loader.keep(here.get("b"), 0.0)
        await here.ask("b")
        assert "b" in here.loaded
        await asyncio.sleep(MIN_REQUESTED + 0.5)
        assert "b" not in here.loaded


async def test_helpers_end_with_the_last_model_and_start_again() -> None:
    """Those that render templates and compile grammars."""
    async with world(keep_alive=300.0) as here:
        services = here.state.services
        await here.ask("a")
        await here.ask("b")
        await services.renderer.render("x", {})
        await services.compiler.compile(Grammar('start: "a"', ()))
        await here.loader.unload(here.get("a"))
        assert 2 == len(helpers())
        await here.loader.unload(here.get("b"))
        for _ in range(1000):
            if not helpers():
                break
            await asyncio.sleep(0.01)
        assert [] == helpers()
        assert "x" == await services.renderer.render("x", {})


def helpers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
