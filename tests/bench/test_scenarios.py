"""What scenarios make of answers whose parts come at given times."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle
from typing import Any, cast

import pytest

from edgeinfer.bench.openai_server import OpenAIServer, Refused, Stream
from edgeinfer.bench.scenarios import QUICK, SCENARIOS


class Answers:
    """Answers in turn with streams whose parts come at these seconds, each with two tokens."""

    def __init__(self, *times: list[float]) -> None:
        self._times: Iterator[list[float]] = cycle(times)

    async def ask(self, *_: Any, **__: Any) -> Stream:
        times = next(self._times)
        return Stream(times, "", 1, 2 * len(times), True, "length", None)


async def long_rate(*times: list[float]) -> float:
    server = cast("OpenAIServer", Answers(*times))
    return await SCENARIOS["long"].measure(server, random.Random(1), QUICK._replace(concurrent=len(times)))


async def test_the_rate_of_long_prompts_is_measured_once_all_answers_have_begun() -> None:
    assert await long_rate([1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0]) == pytest.approx((4 + 4) / 2)


async def test_parts_that_come_at_once_do_not_raise_a_rate() -> None:
    """A server that guesses sends several parts in a burst."""
    assert await long_rate([1.0, 2.0, 2.0, 2.0, 5.0, 5.0, 5.0]) == pytest.approx(12 / 4)


async def test_answers_that_all_came_in_one_piece_have_no_rate() -> None:
    with pytest.raises(Refused, match="in one piece"):
        await long_rate([1.0], [3.0])
