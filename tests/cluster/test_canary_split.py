"""Which conversations a canary gets."""

from __future__ import annotations

from edgeinfer.cluster.canary_split import point


def test_a_conversation_is_always_at_the_same_point_and_they_are_spread_evenly() -> None:
    points = [point(f"conversation {number}") for number in range(2000)]
    assert points == [point(f"conversation {number}") for number in range(2000)]
    for weight in (0.05, 0.5, 0.9):
        assert abs(sum(at < weight for at in points) / len(points) - weight) < 0.03


def test_one_without_a_name_is_anywhere() -> None:
    assert len({point("") for _ in range(20)}) == 20
