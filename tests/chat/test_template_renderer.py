"""The template process, as the daemon sees it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator

import psutil
import pytest

from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.errors import EdgeinferError, InvalidRequest, ShuttingDown, TemplateError
from tests.support.processes import children

LIMIT = 0.5
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"

HOSTILE = {
    "endless loop": ENDLESS,
    "endless power": "{{ 9 ** (9 ** 9) }}",
    "huge output": "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
    "huge string": "{{ 'x' * 10 ** 10 }}",
    "large string": "{{ 'x' * 10 ** 8 }}",
    "huge list": "{% set ns = namespace(l=[1]) %}{% for i in range(40) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "huge message": "{{ raise_exception('x' * 10 ** 7) }}",
    "huge range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "deep source": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('id') }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "format": "{{ '{0.__class__.__mro__}'.format(1) }}{{ ''.__class__.__mro__ }}",
    "attribute filter": "{{ (''|attr('__class__')).__mro__ }}",
    "self": "{{ self.__init__.__globals__ }}",
    "import": "{% import 'os' as os %}",
    "include": "{% include '/etc/passwd' %}",
    "mutation": "{{ messages.append(1) }}",
}


@pytest.fixture
async def renderer() -> AsyncIterator[TemplateRenderer]:
    renderer = TemplateRenderer(LIMIT)
    yield renderer
    await renderer.close()


def renderers() -> list[psutil.Process]:
    return children("edgeinfer.chat.template_process")


async def test_renders(renderer: TemplateRenderer) -> None:
    """A source and a context become text; the process is kept for the next."""
    assert await renderer.render("{{ a }}!", {"a": "hi"}) == "hi!"
    before = renderers()
    assert await renderer.render("{{ a | length }}", {"a": "ü" * 300_000}) == "300000"
    assert renderers() == before


async def test_starts_at_the_first_call(renderer: TemplateRenderer) -> None:
    """A daemon that renders nothing pays for nothing."""
    assert renderers() == []


async def test_refusal_is_the_templates_message(renderer: TemplateRenderer) -> None:
    """raise_exception becomes a TemplateError of the same words."""
    with pytest.raises(TemplateError) as caught:
        await renderer.render("{{ raise_exception('Roles must alternate') }}", {})
    assert caught.value.message == "Roles must alternate"


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_template_harms_nobody(renderer: TemplateRenderer, name: str) -> None:
    """It is answered by TemplateError in bounded time, and the next call is served."""
    await renderer.render("warm", {})
    start = time.monotonic()
    with pytest.raises(TemplateError) as caught:
        await renderer.render(HOSTILE[name], {"messages": []})
    assert time.monotonic() - start < LIMIT + 5
    assert len(caught.value.message) < 600
    assert await renderer.render("{{ 1 + 1 }}", {}) == "2"


async def test_time_limit_is_named(renderer: TemplateRenderer) -> None:
    """The error says which limit it was."""
    with pytest.raises(TemplateError, match=r"longer than 0\.5 seconds"):
        await renderer.render(ENDLESS, {})


async def test_memory_limit_is_named(renderer: TemplateRenderer) -> None:
    """The error says which limit it was."""
    with pytest.raises(TemplateError, match="512 MiB of memory"):
        await renderer.render(HOSTILE["huge string"], {})


async def test_concurrent_calls_get_their_own_answers(renderer: TemplateRenderer) -> None:
    """Calls take turns; one that exceeds the limit fails alone."""
    calls = [renderer.render(ENDLESS if n == 5 else "{{ n }}", {"n": n}) for n in range(12)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results.pop(5), TemplateError)
    assert results == [str(n) for n in range(12) if n != 5]


@pytest.mark.parametrize("delay", [0, 0.0005, 0.002, 0.1])
async def test_cancelled_call_disturbs_nobody(renderer: TemplateRenderer, delay: float) -> None:
    """Whether it waits or is being rendered: its answer is never taken for another's."""
    await renderer.render("warm", {})
    source = "{% for i in range(20000) %}{{ i }}{% endfor %}{{ n }}"
    tasks = [asyncio.create_task(renderer.render(source, {"n": n})) for n in range(3)]
    await asyncio.sleep(delay)
    for task in tasks:
        task.cancel()
    assert await renderer.render("{{ n }}", {"n": "mine"}) == "mine"
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_dead_process_is_replaced(renderer: TemplateRenderer) -> None:
    """The kernel may kill it at any time when memory is short."""
    await renderer.render("warm", {})
    (child,) = renderers()
    child.kill()
    await asyncio.to_thread(child.wait)
    await asyncio.sleep(0.05)  # the event loop hears of it
    assert await renderer.render("again", {}) == "again"


async def test_process_sees_no_secrets(renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the environment it gets the search path and the time zone."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("TZ", "UTC")
    await renderer.render("warm", {})
    (child,) = renderers()
    environment = child.environ()
    assert "HF_TOKEN" not in environment
    assert set(environment) <= {"PYTHONPATH", "TZ", "LD_LIBRARY_PATH", "LC_CTYPE"}


async def test_close_ends_the_process() -> None:
    """Nothing is left behind, and a second close does nothing."""
    renderer = TemplateRenderer(LIMIT)
    await renderer.render("warm", {})
    await renderer.close()
    await renderer.close()
    assert renderers() == []


async def test_close_ends_the_calls() -> None:
    """The one under way, those that wait and those to come are told, at once; no new process is started."""
    renderer = TemplateRenderer(60)
    await renderer.render("warm", {})
    calls = [asyncio.create_task(renderer.render(ENDLESS, {})) for _ in range(3)]
    await asyncio.sleep(0.05)
    await renderer.close()
    errors = await asyncio.gather(*calls, renderer.render("late", {}), return_exceptions=True)
    assert [type(error) for error in errors] == [ShuttingDown] * 4
    assert renderers() == []


@pytest.mark.parametrize("executable", ["/bin/false", "/no/such/file"])
async def test_process_that_does_not_start_is_no_fault_of_the_callers(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    """A server error, and the next call tries again."""
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(EdgeinferError) as caught:
        await renderer.render("x", {})
    assert caught.value.status == 500
    monkeypatch.undo()
    assert await renderer.render("x", {}) == "x"


async def test_unsendable_context_is_the_callers_fault(renderer: TemplateRenderer) -> None:
    """Half a surrogate pair has no UTF-8."""
    with pytest.raises(InvalidRequest):
        await renderer.render("{{ a }}", {"a": "\ud800"})


@pytest.mark.parametrize("source", ["warm", ENDLESS])
def test_process_dies_with_the_daemon(source: str) -> None:
    """Also when the daemon is killed, and also in the middle of a rendering."""
    code = (
        "import asyncio, psutil\n"
        "from edgeinfer.chat.template_renderer import TemplateRenderer\n"
        "async def main():\n"
        "    renderer = TemplateRenderer(1.0)\n"
        "    await renderer.render('warm', {})\n"
        "    print(psutil.Process().children()[0].pid, flush=True)\n"
        f"    await renderer.render({source!r}, {{}})\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        child = psutil.Process(int(daemon.stdout.readline()))
        time.sleep(0.2)
        daemon.kill()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_daemon_never_imports_the_heavy_part() -> None:
    """Neither Jinja nor numpy is loaded by anything the daemon imports from here."""
    code = "import sys, edgeinfer.chat.prompt; print({'jinja2', 'numpy'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout == "set()\n"
