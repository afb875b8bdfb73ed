from __future__ import annotations

import random
import threading
from typing import Any

import msgspec
import pytest
from test_engine_support import LAYOUTS, Driver, config, plain

from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.fake import FakeBackend

SYSTEM = "You answer in few words, and only if you know the answer. Be kind, be brief, be right. "
LENGTH = 90


class Moody(FakeBackend):
    """Its decodes fail at random, and leave a part of the batch behind."""

    def __init__(self, config: EngineConfig, chance: random.Random, failures: float) -> None:
        super().__init__(config, LENGTH)
        self._chance = chance
        self._failures = failures

    def decode(self, batch: Batch) -> DecodeStatus:
        if self._chance.random() >= self._failures:
            return super().decode(batch)
        status = self._chance.choice([DecodeStatus.FAILED, DecodeStatus.ABORTED, DecodeStatus.NO_SPACE])
        if status is not DecodeStatus.NO_SPACE:
            size, batch.size = batch.size, self._chance.randint(1, batch.size)
            super().decode(batch)
            batch.size = size
        return status


class Crowd:
    """Requests of all kinds that come and go at random, from one seed."""

    def __init__(self, layout: str, seed: int, **changes: Any) -> None:
        self.chance = random.Random(f"{layout} {seed}")
        self.ctx = self.chance.choice([48, 96, 160])
        parallel = self.chance.choice([1, 2, 4, 8])
        pool = self.ctx + self.chance.choice([0, 16, 100, 1000])
        asked = config(
            layout,
            ctx=self.ctx,
            parallel=parallel,
            batch=self.chance.choice([8, 17, 64, 512]),
            cells=(parallel + 1) * self.ctx if layout == "streams" else pool,
        )
        asked = msgspec.structs.replace(asked, **changes)
        failures = self.chance.choice([0.0, 0.05, 0.3])
        self.driver = Driver(asked, Moody(asked, self.chance, failures))
        self.asked: dict[int, tuple[str, dict[str, Any]]] = {}
        self.cancelled: set[int] = set()

    def add(self) -> None:
        id, chance = len(self.asked), self.chance
        own = "".join(chance.choices("abc ", k=chance.randrange(1, 40)))
        prompt = (SYSTEM[: chance.choice([0, 40, 87])] + own)[: self.ctx - 1]
        params: dict[str, Any] = {
            "seed": chance.randrange(5),
            "temperature": chance.choice([0.0, 0.9]),
            "max_tokens": chance.choice([None, 1, 7, 30]),
            "ignore_eos": chance.random() < 0.3,
            "repeat_penalty": chance.choice([1.0, 1.3]),
        }
        self.asked[id] = (prompt, params)
        self.driver.add(id, prompt, n=chance.choice([1, 1, 1, 3]), **params)

    def cancel(self) -> None:
        id = self.chance.randrange(len(self.asked))
        self.cancelled.add(id)
        self.driver.engine.abort_prefill(id)
        self.driver.cancel(id)

    def run(self) -> None:
        for _ in range(150):
            event = self.chance.random()
            if event < 0.25 and len(self.asked) < 24:
                self.add()
            elif event < 0.32 and self.asked:
                self.cancel()
            else:
                self.driver.step()
            if event > 0.8 or not self.driver.engine.has_work:
                self.driver.engine.check_integrity()
        self.driver.run()

    def check(self) -> None:
        driver = self.driver
        stats = driver.engine.stats()
        assert (0, 0, 0) == (stats.running, stats.waiting, stats.cells_used)
        assert not any(slot.running for slot in driver.engine.cache.slots)
        driver.engine.check_integrity()
        assert {id for id, _ in driver.answers} == self.asked.keys() - self.cancelled
        assert set(driver.failed.values()) <= {"decode_failed"}
        for (id, index), answer in driver.answers.items():
            if id in driver.failed:
                continue
            prompt, params = self.asked[id]
            assert 1 == len(answer.finishes)
            expected = plain(prompt, ctx=self.ctx, index=index, length=LENGTH, **params)
            assert expected == answer.text


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_every_answer_is_the_undisturbed_one(layout: str, seed: int) -> None:
    """Crowds, cancellations, failing decodes, pools too small for all: answers are right, and nothing leaks."""
    crowd = Crowd(layout, seed)
    crowd.run()
    crowd.check()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_aborts_from_another_thread_change_no_answer(layout: str) -> None:
    """They come at any moment, for requests that are there, that were, and that never will be."""
    crowd = Crowd(layout, 1000, parallel=8, cells=2000)
    over = threading.Event()

    def abort() -> None:
        chance = random.Random(1)
        while not over.wait(0.0005):
            crowd.driver.engine.abort_prefill(chance.randrange(30))

    thread = threading.Thread(target=abort)
    thread.start()
    try:
        crowd.run()
    finally:
        over.set()
        thread.join()
    crowd.check()
