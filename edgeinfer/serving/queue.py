"""Whose turn it is: answers wait here, a line for each caller, and go to the worker as it has room."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Hashable
from types import TracebackType

from edgeinfer.errors import EdgeinferError, InvalidRequest, QueueFull, ShuttingDown


class Turns:
    """Gives the worker as many answers as it computes at once, and some more, so that it never waits for us.

    The next turn is for the caller with the fewest answers running; among these, for the one whose last turn
    is the longest ago. So a caller with a hundred requests delays another's by an answer or two.

    `queue` answers may wait. If there are as many, a caller with few in line gets in all the same: the one
    with the most loses its newest.

    Attributes:
        running: answers that had their turn and have not ended.
        waiting: answers in line.
    """

    def __init__(self, parallel: Callable[[], int], queue: int) -> None:
        self.running = 0
        self.waiting = 0
        self._parallel = parallel
        self._queue = queue
        self._lines: dict[Hashable, Line] = {}
        self._turns = 0
        self._answer_seconds = 1.0
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def take(self, caller: Hashable, n: int = 1) -> Turn:
        """A place in line for a request of n answers; `async with` waits for its turn.

        Raises:
            QueueFull: there is no place.
            InvalidRequest: there never will be one for so many.
            ShuttingDown: it is closed.
        """
        if self._closed:
            raise ShuttingDown("the service is shutting down", retry_after=5)
        limit = self._parallel() + self._queue
        if n > limit:
            raise InvalidRequest(f"n is {n}, and no more than {limit} answers may wait", param="n")
        line = self._lines.get(caller) or Line()
        losers = self._losers(line, n, self.running + self.waiting + n - limit)
        if losers is None:
            raise self._full(limit)
        for loser in losers:
            self._leave(loser)
            loser.settle(self._full(limit))
        self._lines[caller] = line
        turn = Turn(self, line, n)
        line.turns.append(turn)
        self.waiting += n
        self._empty.clear()
        self.admit()
        return turn

    async def drain(self, timeout: float) -> None:
        """Let nobody in any more, and wait for those who are: until all have ended, or for `timeout` seconds."""
        self._closed = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._empty.wait(), timeout)

    def admit(self) -> None:
        """Give turns while there is room."""
        parallel = self._parallel()
        room = parallel + min(self._queue, max(1, parallel // 2))
        while self.waiting and self.running < room:
            lines = (line for line in self._lines.values() if line.turns)
            line = min(lines, key=lambda found: (found.running, found.last))
            turn = line.turns[0]
            self._leave(turn)
            self._turns += 1
            line.last = self._turns
            line.running += turn.left
            self.running += turn.left
            turn.settle(None)

    def end(self, turn: Turn, n: int) -> None:
        """Of a turn n answers have ended; or all of it, before it came."""
        line = turn.line
        if turn in line.turns:
            self._leave(turn)
        elif turn.admitted:
            line.running -= n
            self.running -= n
            self._answer_seconds += 0.2 * (time.monotonic() - turn.admitted - self._answer_seconds)
        self.admit()
        for caller in [c for c, found in self._lines.items() if not found.running and not found.turns]:
            del self._lines[caller]
        if not self._lines:
            self._empty.set()

    def _leave(self, turn: Turn) -> None:
        turn.line.turns.remove(turn)
        self.waiting -= turn.left

    def _losers(self, line: Line, n: int, excess: int) -> list[Turn] | None:
        """Those who give way to n answers more in `line`, which are `excess` too many; None: nobody does."""
        left = {id(other): list(other.turns) for other in self._lines.values()}
        found: list[Turn] = []
        while excess > 0:
            longest = max(left.values(), key=_answers, default=[])
            if _answers(longest) <= _answers(line.turns) + n:
                return None
            found.append(longest.pop())
            excess -= found[-1].left
        return found

    def _full(self, limit: int) -> QueueFull:
        active = self.running + self.waiting
        rounds = math.ceil(active / self._parallel())
        return QueueFull(
            f"{active} answers are running or waiting, and the limit is {limit}",
            hint="try again later, or raise --queue",
            retry_after=max(1, min(60, math.ceil(rounds * self._answer_seconds / 2))),
        )


class Line:
    """Of one caller: the turns that wait, how many answers are running, and when it last had a turn."""

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()
        self.running = 0
        self.last = 0


class Turn:
    """One request's.

    Attributes:
        left: its answers that have not ended.
        admitted: when it was admitted, by the monotonic clock; 0 while it waits.
        accepted_at: when the request got its place in line, by the monotonic clock.
    """

    def __init__(self, turns: Turns, line: Line, n: int) -> None:
        self.line = line
        self.left = n
        self.admitted = 0.0
        self.accepted_at = time.monotonic()
        self._turns = turns
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: EdgeinferError | None) -> None:
        """Its turn has come, or never will."""
        if error is None:
            self.admitted = time.monotonic()
        if self._settled.done():  # whoever waited was cancelled in this very moment
            return
        if error:
            self._settled.set_exception(error)
        else:
            self._settled.set_result(None)

    def done(self) -> None:
        """One of its answers has ended."""
        self.left -= 1
        self._turns.end(self, 1)

    async def __aenter__(self) -> Turn:
        if not self._settled.done():
            try:
                await self._settled
            except BaseException:
                if self._settled.done() and not self._settled.cancelled():
                    self._settled.exception()  # seen, though we were cancelled in the same moment
                self._end()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self.left:
            self._turns.end(self, self.left)
            self.left = 0


def _answers(turns: deque[Turn] | list[Turn]) -> int:
    return sum(turn.left for turn in turns)
