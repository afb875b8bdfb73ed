"""The last minutes are kept for those who begin to look."""

from __future__ import annotations

import pytest

from edgeinfer.inference.output import EngineStats
from edgeinfer.server import history
from edgeinfer.server.history import MAX_SAMPLES, RecentActivity, Sample
from tests.support.server import Scripted, eventually, serving


class Board:
    """Two models, a clock and a sensor."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stats = [EngineStats(cells=100), EngineStats(cells=100)]
        self.history = RecentActivity(lambda: self.stats, lambda: 41, lambda: self.now)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.history.take()


def test_a_sample_has_the_rates_since_the_one_before_of_all_models() -> None:
    board = Board()
    board.history.take()
    assert not board.history.samples
    board.stats = [
        EngineStats(
            running=1, waiting=2, cells=100, cells_used=30, completion_tokens_total=10, prompt_tokens_total=4
        ),
        EngineStats(running=1, cells=100, cells_used=20, completion_tokens_total=20, cached_tokens_total=6),
    ]
    board.later(2)
    assert board.history.samples == (Sample(1002.0, 15.0, 2.0, 3.0, 2, 2, 25.0, 41),)


def test_counters_that_go_back_and_a_clock_that_does_are_no_rates() -> None:
    """As when a model is gone."""
    board = Board()
    board.stats = [EngineStats(completion_tokens_total=50)]
    board.history.take()
    board.stats = []
    board.later(2)
    board.later(-1)
    assert [(sample.generated, sample.cells) for sample in board.history.samples] == [(0.0, 0.0)]


def test_only_the_last_samples_are_kept() -> None:
    board = Board()
    for _ in range(MAX_SAMPLES + 10):
        board.later(2)
    assert len(board.history.samples) == MAX_SAMPLES
    assert board.history.samples[-1].at == board.now


def test_the_daemon_takes_samples_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "INTERVAL", 0.01)
    with serving(Scripted()) as served:
        assert eventually(lambda: len(served.client.get("/history").json()["samples"]) > 1)
        sample = served.client.get("/history").json()["samples"][-1]
    assert (sample["running"], sample["cells"]) == (0, 0.2)
