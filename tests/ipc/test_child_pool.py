"""Helpers that die at work are replaced, and no caller waits for the work of another."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable

import psutil
import pytest

from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.errors import NotReady, ShuttingDown
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar
from edgeinfer.ipc.child_pool import ChildPool

ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"

LONG = "{% for i in range(90000) %}{% for j in range(5) %}{% endfor %}{% endfor %}{{ n }}"


@pytest.fixture
async def renderer() -> AsyncIterator[TemplateRenderer]:
    renderer = TemplateRenderer(60)
    yield renderer
    await renderer.close()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if runs(child)]


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
async def test_call_whose_process_is_killed_is_tried_again(
    renderer: TemplateRenderer, number: signal.Signals
) -> None:
    """The kernel may kill any process where memory is short; the client is not to blame."""
    await renderer.render("warm", {})
    (child,) = children()
    child.suspend()
    call = asyncio.create_task(renderer.render("{{ n }}", {"n": 7}))
    await asyncio.sleep(0.05)
    child.send_signal(number)
    with contextlib.suppress(psutil.NoSuchProcess):
        child.resume()
    assert await call == "7"


async def test_grammar_whose_process_is_killed_is_compiled_again() -> None:
    """As a template is rendered again."""
    compiler = GrammarCompiler(60)
    await compiler.compile(Grammar('start: "a"', ()))
    (child,) = children()
    child.suspend()
    call = asyncio.create_task(compiler.compile(Grammar('start: "b"', ())))
    await asyncio.sleep(0.05)
    child.kill()
    assert "b" in (await call).text
    await compiler.close()


async def test_call_whose_process_is_killed_twice_may_be_sent_again(renderer: TemplateRenderer) -> None:
    """It is no error of the client's: 503, not 400."""
    await renderer.render("warm", {})
    (first,) = children()
    to_start = first.cpu_times().user
    call = asyncio.create_task(renderer.render(ENDLESS, {}))
    await asyncio.sleep(0.05)
    first.kill()
    at_work = 2 * to_start + 0.5  # seconds: what a slow CPU needs, it needs for every process
    await until(lambda: any(p.pid != first.pid and p.cpu_times().user > at_work for p in children()))
    for child in children():
        child.kill()
    with pytest.raises(NotReady, match="template process was killed from outside") as caught:
        await call
    assert (503, 1) == (caught.value.status, caught.value.retry_after)


async def test_short_calls_do_not_wait_for_a_long_one(renderer: TemplateRenderer) -> None:
    """A second process is started for them."""
    assert await renderer.render("{{ n }}", {"n": 0}) == "0"
    assert 1 == len(children())
    long = asyncio.create_task(renderer.render(ENDLESS, {}))
    await asyncio.sleep(0)
    for n in range(5):
        assert await renderer.render("{{ n }}", {"n": n}) == f"{n}"
    assert 2 == len(children())
    await renderer.close()
    with pytest.raises(ShuttingDown):
        await long


async def test_second_process_ends_when_it_has_had_nothing_to_do(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts again when it is needed."""
    monkeypatch.setattr(ChildPool, "REST", 0.2)
    for _ in range(2):
        calls = [renderer.render(LONG, {"n": n}) for n in range(4)]
        assert ["0", "1", "2", "3"] == await asyncio.gather(*calls)
        await until(lambda: 1 == len(children()))


async def test_cancelled_call_keeps_its_process_only_until_that_is_done(renderer: TemplateRenderer) -> None:
    """More calls than processes are cancelled, and the next ones are answered."""
    for _ in range(3):
        calls = [asyncio.create_task(renderer.render(LONG, {"n": n})) for n in range(5)]
        await asyncio.sleep(0.01)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    assert ["0", "1", "2"] == await asyncio.gather(*(renderer.render("{{ n }}", {"n": n}) for n in range(3)))


async def test_close_ends_all_processes_and_calls() -> None:
    """Those that compute, wait or are yet to come are told."""
    renderer = TemplateRenderer(60)
    calls = [asyncio.create_task(renderer.render(ENDLESS, {})) for _ in range(5)]
    await until(lambda: 2 == len(children()))
    await renderer.close()
    errors = await asyncio.gather(*calls, renderer.render("x", {}), return_exceptions=True)
    assert [ShuttingDown] * 6 == [type(error) for error in errors]
    assert [] == children()
