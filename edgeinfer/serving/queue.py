"""Queues answers fairly: each caller has its own line, and the shortest one is served first."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Hashable
from types import TracebackType

from edgeinfer.errors import EdgeinferError, InvalidRequest, QueueFull, shutting_down


class FairQueue:
    """Admits as many answers as the engine computes at once, and a few more to keep its batch full.

    The next ticket admitted is that of the caller with the fewest running answers; among equals, of the caller that
    was admitted longest ago. So a caller with a hundred requests delays another's by an answer or two.

    An engine that shares itself between callers (`engine_shares`) also gets the first request of a caller with nothing
    running at once, whatever others have running: it decides better who is next, since it counts tokens.

    `capacity` answers may wait. If the queue is full, a caller with few in line is still accepted: the caller with the
    most loses its newest ticket. A caller without answers gets its part of the queue even if all others are running.

    Attributes:
        running: answers that were admitted and have not ended.
        waiting: answers in line.
    """

    def __init__(
        self,
        parallel: Callable[[], int],
        capacity: int,
        *,
        engine_shares: bool = False,
        max_each: int | None = None,
    ) -> None:
        """`max_each`: what one caller may have running at the most."""
        self.running = 0
        self.waiting = 0
        self._parallel = parallel
        self._capacity = capacity
        self._engine_shares = engine_shares
        self._max_each = max_each
        self._lines: dict[Hashable, CallerLine] = {}
        self._admissions = 0
        self._answer_seconds = 1.0
        self._pauses = 0
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def callers_waiting(self) -> int:
        """Callers with answers in line."""
        return sum(1 for line in self._lines.values() if line.tickets)

    def take(self, caller: Hashable, n: int = 1) -> Ticket:
        """A place in line for a request of n answers; `async with` waits until it is admitted.

        Raises:
            QueueFull: the queue is full.
            InvalidRequest: n is larger than the queue.
            ShuttingDown: the queue is closed.
        """
        if self._closed:
            raise shutting_down()
        limit = self._parallel() + self._capacity
        if n > limit:
            raise InvalidRequest(f"n is {n}, but at most {limit} answers may wait", param="n")
        line = self._lines.get(caller) or CallerLine()
        losers = self._room_for(line, n, limit)
        for loser in losers:
            self._leave(loser)
            loser.settle(self._full(limit))
        self._lines[caller] = line
        ticket = Ticket(self, line, n)
        line.tickets.append(ticket)
        self.waiting += n
        self._empty.clear()
        self.admit()
        return ticket

    def check(self, caller: Hashable, n: int) -> None:
        """Raises QueueFull if n answers would not be accepted now, for requests that take their places one by one."""
        self._room_for(self._lines.get(caller) or CallerLine(), n, self._parallel() + self._capacity)

    async def drain(self, timeout: float) -> None:
        """Accept no new request, and wait until all others have ended, for at most `timeout` seconds."""
        self._closed = True
        await self.idle(timeout)

    async def idle(self, timeout: float) -> None:
        """Wait until nothing is running or waiting, for at most `timeout` seconds."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout)

    async def quiet(self, timeout: float) -> bool:
        """Wait until nothing is running, for at most `timeout` seconds; -> True if nothing is."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), timeout)
        return not self.running

    def pause(self) -> None:
        """Admit nothing until `resume` has been called as often."""
        self._pauses += 1

    def resume(self) -> None:
        self._pauses -= 1
        self.admit()

    def admit(self) -> None:
        """Admit tickets while there is room."""
        parallel = self._parallel()
        room = parallel + min(self._capacity, max(1, parallel // 2))
        while self.waiting and not self._pauses:
            lines = [line for line in self._lines.values() if line.tickets and self._may_run_more(line)]
            if not lines:
                return
            line = min(lines, key=lambda candidate: (candidate.running, candidate.last))
            if self.running >= room and (line.running or not self._engine_shares):
                return
            ticket = line.tickets[0]
            self._leave(ticket)
            self._admissions += 1
            line.last = self._admissions
            line.running += ticket.left
            self.running += ticket.left
            self._quiet.clear()
            ticket.settle(None)

    def end(self, ticket: Ticket, n: int) -> None:
        """Record that n answers of a ticket have ended, or that it was withdrawn before it was admitted."""
        line = ticket.line
        if ticket in line.tickets:
            self._leave(ticket)
        elif ticket.admitted:
            line.running -= n
            self.running -= n
            self._answer_seconds += 0.2 * (time.monotonic() - ticket.admitted - self._answer_seconds)
            if not self.running:
                self._quiet.set()
        self.admit()
        idle = [caller for caller, line in self._lines.items() if not line.running and not line.tickets]
        for caller in idle:
            del self._lines[caller]
        if not self._lines:
            self._empty.set()

    def _leave(self, ticket: Ticket) -> None:
        ticket.line.tickets.remove(ticket)
        self.waiting -= ticket.left

    def _room_for(self, line: CallerLine, n: int, limit: int) -> list[Ticket]:
        """Tickets to drop for n more answers of `line`. Raises QueueFull."""
        if self._engine_shares and self._has_part(line, n, limit):
            return []  # it will not wait, so no other need make room
        losers = self._losers(line, n, self.running + self.waiting + n - limit)
        if losers is None and not self._has_part(line, n, limit):
            raise self._full(limit)
        return losers or []

    def _losers(self, line: CallerLine, n: int, excess: int) -> list[Ticket] | None:
        """Tickets to drop so that `line` can have n more answers, `excess` too many; None if it may not."""
        left = {id(other): list(other.tickets) for other in self._lines.values()}
        losers: list[Ticket] = []
        while excess > 0:
            longest = max(left.values(), key=_answers, default=[])
            if _answers(longest) <= _answers(line.tickets) + n:
                return None
            losers.append(longest.pop())
            excess -= losers[-1].left
        return losers

    def _may_run_more(self, line: CallerLine) -> bool:
        return self._max_each is None or line.running < self._max_each

    def _has_part(self, line: CallerLine, n: int, limit: int) -> bool:
        """True if n answers are no more than the part of a caller that has none, however full the queue is."""
        if line.running or line.tickets:
            return False
        fits = self._engine_shares or self.waiting + n <= self._capacity
        return fits and n <= limit // (len(self._lines) + 1)

    def _full(self, limit: int) -> QueueFull:
        active = self.running + self.waiting
        rounds = math.ceil(active / self._parallel())
        return QueueFull(
            f"{active} answers are running or waiting, and the limit is {limit}",
            hint="try again later, or raise --queue",
            retry_after=max(1, min(60, math.ceil(rounds * self._answer_seconds / 2))),
        )


class CallerLine:
    """One caller's waiting tickets, number of running answers, and last admission."""

    def __init__(self) -> None:
        self.tickets: deque[Ticket] = deque()
        self.running = 0
        self.last = 0


class Ticket:
    """One request's place in the queue.

    Attributes:
        left: answers that have not ended.
        accepted_at: when the request arrived, by the monotonic clock.
        admitted: when it was admitted, by the same clock; 0 while it waits.
    """

    def __init__(self, queue: FairQueue, line: CallerLine, n: int) -> None:
        self.line = line
        self.left = n
        self.accepted_at = time.monotonic()
        self.admitted = 0.0
        self._queue = queue
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: EdgeinferError | None) -> None:
        """Admit the ticket, or end its wait with an error."""
        if error is None:
            self.admitted = time.monotonic()
        if self._settled.done():  # its task has just been cancelled
            return
        if error:
            self._settled.set_exception(error)
        else:
            self._settled.set_result(None)

    def done(self) -> None:
        """Record that one of the answers has ended."""
        self.left -= 1
        self._queue.end(self, 1)

    async def __aenter__(self) -> Ticket:
        if not self._settled.done():
            try:
                await self._settled
            except BaseException:
                if self._settled.done() and not self._settled.cancelled():
                    self._settled.exception()  # mark it as retrieved, although we have been cancelled
                self._end()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self.left:
            self._queue.end(self, self.left)
            self.left = 0


def _answers(tickets: deque[Ticket] | list[Ticket]) -> int:
    return sum(ticket.left for ticket in tickets)
