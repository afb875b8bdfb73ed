"""Whose turn it is: nobody waits for one who asks a lot, and the worker never waits for us."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.errors import InvalidRequest, QueueFull, ShuttingDown
from edgeinfer.grammar.source import CompiledGrammar, Grammar
from edgeinfer.inference.fake import fake_delta, fake_finish
from edgeinfer.inference.output import Delta
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Prompt, Span
from edgeinfer.serving.pieces import MAX_PIECE, in_pieces, prompt_size
from edgeinfer.serving.queue import FairQueue
from tests.support.server import Scripted, application, eventually, serving


class Room:
    """Requests that take turns; `begun` has who had one, in order. `end` lets one of somebody's end."""

    def __init__(self, parallel: int, queue: int = 100, engine_shares: bool = False) -> None:
        self.queue = FairQueue(lambda: parallel, queue, engine_shares=engine_shares)
        self.begun: list[str] = []
        self.refused: list[str] = []
        self._running: list[tuple[str, asyncio.Event]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, caller: str, count: int = 1, n: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._ask(caller, n)) for _ in range(count)]
        await settle()

    async def _ask(self, caller: str, n: int) -> None:
        try:
            async with self.queue.take(caller, n) as turn:
                self.begun.append(caller)
                end = asyncio.Event()
                self._running.append((caller, end))
                await end.wait()
                for _ in range(n):
                    turn.done()
        except QueueFull:
            self.refused.append(caller)

    async def end(self, caller: str | None = None) -> None:
        at = next(i for i, (who, _) in enumerate(self._running) if caller in (None, who))
        self._running.pop(at)[1].set()
        await settle()

    @property
    def running(self) -> Counter[str]:
        return Counter(who for who, _ in self._running)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def room(parallel: int, queue: int = 100, *, engine_shares: bool = False) -> AsyncIterator[Room]:
    found = Room(parallel, queue, engine_shares)
    yield found
    for task in found.tasks:
        task.cancel()
    await asyncio.gather(*found.tasks, return_exceptions=True)
    assert (found.queue.running, found.queue.waiting) == (0, 0)


@pytest.mark.parametrize(
    ("parallel", "queue", "given"), [(4, 100, 6), (1, 100, 2), (8, 2, 10), (4, 0, 4), (2, 1, 3)]
)
async def test_the_worker_is_given_somewhat_more_than_it_runs(parallel: int, queue: int, given: int) -> None:
    """So that a place is filled the moment it is free; never more than may wait in all."""
    async with room(parallel, queue) as r:
        await r.ask("a", 20)
        assert (r.queue.running, len(r.begun)) == (given, given)
        if queue > 10:
            await r.end()
            assert r.queue.running == given


async def test_one_with_a_hundred_requests_does_not_delay_another() -> None:
    """The other has the next turns, until both have as many answers running; each is in order of its own."""
    async with room(4) as r:
        await r.ask("a", 90)
        await r.ask("b", 5)
        r.begun.clear()
        for _ in range(3):
            await r.end("a")
        assert r.begun == ["b"] * 3
        assert r.running == {"a": 3, "b": 3}
        for _ in range(4):
            await r.end("a")
            await r.end("b")
        assert Counter(r.begun[3:]) == {"b": 2, "a": 6}


async def test_an_engine_that_shares_itself_gets_a_newcomers_first_request_at_once() -> None:
    """Its further ones wait for their turn; so nobody has more than a few in the engine."""
    async with room(4, engine_shares=True) as r:
        await r.ask("a", 90)
        assert r.running == {"a": 6}
        await r.ask("b", 5)
        await r.ask("c", n=8)
        assert r.running == {"a": 6, "b": 1, "c": 1}
        for _ in range(6):
            await r.end("a")
        assert r.running == {"a": 1, "b": 1, "c": 1}
        await r.end("c")
        assert r.running == {"a": 3, "b": 3}


@pytest.mark.parametrize("engine_shares", [False, True])
async def test_one_whose_answers_all_run_leaves_others_their_part_of_the_queue(engine_shares: bool) -> None:
    """Twelve callers beside a request for as many answers as may wait."""
    async with room(8, 128, engine_shares=engine_shares) as r:
        await r.ask("a", n=136)
        for who in range(12):
            await r.ask(f"{who}", n=2)
        assert r.refused == []
        await r.ask("a")
        await r.ask("late", n=30)
        assert r.refused == ["a", "late"]
        assert len(r.running) == (13 if engine_shares else 1)


async def test_prompts_that_do_not_all_fit_are_refused_before_any_of_them_waits() -> None:
    """Another request for as many is refused at once, and takes nobody's place."""
    async with room(2, 8) as r:
        await r.ask("a", 8)
        r.queue.check("a", 2)
        with pytest.raises(QueueFull):
            r.queue.check("a", 3)
        r.queue.check("b", 3)
        assert (r.queue.running, r.queue.waiting, r.refused) == (3, 5, [])


@pytest.mark.parametrize("engine_shares", [False, True])
async def test_the_queue_stays_bounded_however_many_callers_there_are(engine_shares: bool) -> None:
    """A thousand of them, with as many answers each as they get."""
    async with room(2, 30, engine_shares=engine_shares) as r:
        await r.ask("a", n=32)
        for who in range(1000):
            await r.ask(f"{who}", n=1 + who % 7)
        assert r.queue.waiting <= 30
        assert r.queue.running + r.queue.waiting <= 5 * 32


async def test_one_caller_leaves_the_other_process_to_others() -> None:
    """However many templates it asks for, one is rendered at a time; another's begins at once."""
    queue = FairQueue(lambda: 2, 100, max_each=1)
    ended = asyncio.Event()
    begun: list[str] = []

    async def render(who: str) -> None:
        async with queue.take(who):
            begun.append(who)
            await ended.wait()

    tasks = [asyncio.create_task(render("greedy")) for _ in range(70)]
    await settle()
    assert begun == ["greedy"]
    tasks.append(asyncio.create_task(render("modest")))
    await settle()
    assert begun == ["greedy", "modest"]
    ended.set()
    await asyncio.gather(*tasks)
    assert len(begun) == 71
    assert (queue.running, queue.waiting) == (0, 0)


async def test_equals_take_turns() -> None:
    """Three who ask the same get the same, whoever was first."""
    async with room(3) as r:
        for who in "abc":
            await r.ask(who, 20)
        assert r.begun == ["a"] * 4
        for _ in range(40):
            await r.end()
        counts = Counter(r.begun[4:])
        assert max(counts.values()) - min(counts.values()) <= 1


async def test_answers_count_not_requests() -> None:
    """A request for eight answers has eight running."""
    async with room(8) as r:
        await r.ask("a", 3, n=8)
        await r.ask("b", 8)
        assert r.running == {"a": 2}
        await r.end("a")
        assert r.running == {"a": 1, "b": 4}


async def test_a_turn_is_free_again_as_its_answers_end() -> None:
    """The first of several makes room for another request."""
    turns = FairQueue(lambda: 2, 10)
    async with turns.take("a", 3) as turn:
        other = turns.take("b")
        assert turns.waiting == 1
        turn.done()
        assert (turns.running, turns.waiting) == (3, 0)
        async with other:
            pass
    assert (turns.running, turns.waiting) == (0, 0)


async def test_a_full_line_is_told_with_a_time_to_wait() -> None:
    """The one that is alone in it."""
    async with room(2, 3) as r:
        await r.ask("a", 5)
        with pytest.raises(QueueFull) as caught:
            r.queue.take("a")
        assert caught.value.retry_after
        assert "--queue" in str(caught.value.hint)
        with pytest.raises(InvalidRequest):
            r.queue.take("a", 6)


async def test_more_answers_than_there_is_room_for_are_refused_as_a_whole() -> None:
    """Later they may be accepted; more than may ever wait are refused for good."""
    async with room(2, 1) as r:
        await r.ask("a")
        with pytest.raises(QueueFull):
            r.queue.take("a", 3)
        assert (r.queue.running, r.queue.waiting) == (1, 0)
        with pytest.raises(InvalidRequest) as caught:
            r.queue.take("a", 4)
        assert ("n", None) == (caught.value.param, caught.value.retry_after)


async def test_a_newcomer_gets_into_a_full_line_before_one_who_fills_it() -> None:
    """Whose newest are turned away, as long as it has more waiting than the newcomer."""
    async with room(2, 8) as r:
        await r.ask("a", 10)
        assert (r.queue.running, r.queue.waiting) == (3, 7)
        await r.ask("b", 9)
        assert Counter(r.refused) == {"a": 3, "b": 6}
        assert r.queue.waiting == 7
        await r.ask("c", n=2)
        assert r.refused[9:] == ["a", "a"] or Counter(r.refused[9:]) == {"a": 1, "b": 1}


async def test_whoever_leaves_the_line_leaves_no_gap() -> None:
    """Before its turn, in the moment of it, and after."""
    async with room(1, 10) as r:
        await r.ask("a", 2)
        await r.ask("b", 3)
        r.tasks[3].cancel()  # in line
        await r.end()  # b's first has its turn in this moment ...
        await r.end()
        r.tasks[2].cancel()
        await settle()
        assert r.queue.waiting == 0
        await r.end()
    gc.collect()  # an exception that nobody saw would be told now, which is an error here


async def test_a_cancelled_request_that_is_just_refused_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No "exception was never retrieved" in the log."""
    async with room(1, 3) as r:
        await r.ask("a", 4)
        loser = r.tasks[-1]
        loser.cancel()
        r.queue.take("b")
        r.queue._lines["b"].tickets[0]._end()
        await settle()
    gc.collect()
    assert caplog.text == ""


async def test_at_the_end_nobody_gets_in_and_those_who_are_may_end() -> None:
    """Waiting ones have their turn still."""
    async with room(1, 10) as r:
        await r.ask("a", 4)
        drained = asyncio.create_task(r.queue.drain(30))
        await settle()
        with pytest.raises(ShuttingDown):
            r.queue.take("b")
        for _ in range(4):
            assert not drained.done()
            await r.end()
        await settle()
        assert drained.done()
    async with room(1, 10) as r:
        await r.ask("a", 2)
        await r.queue.drain(0.01)


async def test_any_mixture_of_callers_keeps_the_books() -> None:
    """Requests of all sizes that come, end and are cancelled, a thousand times."""
    dice = random.Random(7)
    async with room(4, 20) as r:
        for _ in range(1000):
            match dice.randrange(3):
                case 0:
                    await r.ask(dice.choice("abcd"), n=dice.choice((1, 1, 2, 5)))
                case 1 if r._running:
                    await r.end()
                case 2 if r.tasks:
                    r.tasks.pop(dice.randrange(len(r.tasks))).cancel()
            assert 0 <= r.queue.running <= 6 + 4
            assert 0 <= r.queue.waiting <= 20
            assert not r.queue.waiting or r.queue.running >= 6
            assert r.queue.waiting == sum(t.left for line in r.queue._lines.values() for t in line.tickets)


def test_inputs_go_to_the_worker_in_pieces() -> None:
    """In order, none empty, none much larger than it should be; a long one goes alone."""
    sizes = [10, MAX_PIECE, 3, MAX_PIECE - 3, 1, 5 * MAX_PIECE, 2]
    pieces = list(in_pieces([[Span("x" * size)] for size in sizes], prompt_size))
    assert [[len(s.text) for (s,) in piece] for piece in pieces] == [
        [10],
        [MAX_PIECE],
        [3, MAX_PIECE - 3],
        [1],
        [5 * MAX_PIECE],
        [2],
    ]
    assert list(in_pieces([], prompt_size)) == []
    assert list(in_pieces([[1, 2], [3]], prompt_size)) == [[[1, 2], [3]]]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come true")


def test_one_who_sends_hard_grammars_does_not_keep_others_from_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are compiled a caller at a time, too: the other's is among the next."""
    app = application(Scripted())
    state = app.state.edgeinfer
    model = state.registry.default
    done: list[str] = []

    async def compile_(_grammar: Grammar) -> CompiledGrammar:
        await asyncio.sleep(0.01)
        return CompiledGrammar("", {})

    async def ask(who: str) -> None:
        await model.compile(who, Grammar("start: /x/", ()))
        done.append(who)

    async def both() -> None:
        greedy = [asyncio.create_task(ask("greedy")) for _ in range(50)]
        await asyncio.sleep(0)
        await ask("modest")
        await asyncio.gather(*greedy)

    monkeypatch.setattr(state.services.compiler, "compile", compile_)
    asyncio.run(both())
    assert done.index("modest") < 10


class Gated(Scripted):
    """So many answers end as `release` says."""

    release = 0

    async def generate(self, prompt: Prompt, *_given: Any, **_more: Any) -> AsyncGenerator[Delta, None]:
        self.requests.append((prompt, SamplingParams(), 1))
        for _ in range(10_000):
            if self.release > 0:
                break
            await asyncio.sleep(0.005)
        self.release -= 1
        yield fake_delta("x", finish=fake_finish())


def test_a_greedy_key_does_not_keep_a_modest_one_waiting(tmp_path: Path) -> None:
    """Over HTTP: a hundred streams of one are there when the other asks, and the engine gets the other's at once."""
    keys = tmp_path / "keys"
    keys.write_text("greedy\nmodest\n")
    keys.chmod(0o600)
    supervisor = Gated()
    app = application(supervisor, api_key_file=str(keys))
    queue = app.state.edgeinfer.registry.default.queue

    async def both(url: str) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:

            def ask(key: str) -> asyncio.Task[httpx.Response]:
                headers = {"x-api-key": key}
                body = {"prompt": key, "stream": True}
                return asyncio.create_task(client.post("/v1/completions", json=body, headers=headers))

            tasks = [ask("greedy") for _ in range(100)]
            await until(lambda: queue.running + queue.waiting == 100)
            begun = len(supervisor.requests)
            assert begun < 20
            tasks.append(ask("modest"))
            await until(lambda: len(supervisor.requests) > begun)
            assert queue.running + queue.waiting == 101
            assert supervisor.requests[begun][0] == [Span("modest")]
            supervisor.release = 1000
            assert {response.status_code for response in await asyncio.gather(*tasks)} == {200}

    with serving(supervisor, app) as served:
        asyncio.run(both(served.url))
        assert eventually(lambda: not queue.running)


def test_those_who_wait_are_counted(tmp_path: Path) -> None:
    """In /status and in the metrics, wherever they wait."""
    supervisor = Scripted()
    supervisor.hold_first = 60
    app = application(supervisor)
    with serving(supervisor, app) as served:

        async def look() -> tuple[int, str]:
            async with httpx.AsyncClient(base_url=served.url, timeout=30) as client:
                tasks = [
                    asyncio.create_task(client.post("/v1/completions", json={"prompt": "x"}))
                    for _ in range(15)
                ]
                await until(lambda: app.state.edgeinfer.registry.default.queue.waiting >= 3)
                status = (await client.get("/status")).json()
                assert [row["callers_waiting"] for row in status["models"]] == [1]
                found = status["stats"]["waiting"]
                text = (await client.get("/metrics")).text
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                return found, text

        waiting, text = asyncio.run(look())
        assert waiting == 3
        assert 'edgeinfer_queue_depth{model="scripted"} 3.0' in text
        assert eventually(lambda: not supervisor.running)
