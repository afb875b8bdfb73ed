"""How long silence may last before it is a hang."""

from __future__ import annotations

from edgeinfer.backends.llama_cpp.heartbeat import Heartbeat


def silent(heartbeat: Heartbeat, ticks: int) -> Heartbeat:
    for _ in range(ticks):
        heartbeat.tick()
    return heartbeat


def test_who_was_not_asked_owes_no_answer() -> None:
    """The first tick asks, and the silence is counted from there."""
    heartbeat = Heartbeat(60.0)
    assert heartbeat.tick()
    assert (0.0, False) == (heartbeat.silence, heartbeat.hung)
    assert not heartbeat.tick()
    assert heartbeat.period == heartbeat.silence


def test_who_answers_is_asked_again() -> None:
    heartbeat = silent(Heartbeat(60.0), 3)
    heartbeat.on_pong()
    assert 0.0 == heartbeat.silence
    assert heartbeat.tick()


def test_silence_beyond_the_limit_is_a_hang() -> None:
    """And it is one as long as it lasts, should the process not even die."""
    heartbeat = silent(Heartbeat(60.0), 13)
    assert (60.0, False) == (heartbeat.silence, heartbeat.hung)
    assert silent(heartbeat, 1).hung
    assert silent(heartbeat, 100).hung


def test_a_step_is_a_sign_of_life_and_no_answer() -> None:
    """Where steps come, the question stays: it is answered between them."""
    heartbeat = silent(Heartbeat(60.0), 13)
    heartbeat.on_step(100.0)
    assert (0.0, 60.0) == (heartbeat.silence, heartbeat.limit)
    assert not heartbeat.tick()
    assert heartbeat.period == heartbeat.silence


def test_slow_steps_make_patient() -> None:
    """The longest that was seen counts."""
    heartbeat = Heartbeat(60.0)
    heartbeat.on_step(20_000.0)
    heartbeat.on_step(10.0)
    assert 200.0 == heartbeat.limit
    assert not silent(heartbeat, 40).hung
    assert silent(heartbeat, 2).hung


def test_short_limits_are_looked_at_more_often() -> None:
    assert (5.0, 0.25) == (Heartbeat(600.0).period, Heartbeat(1.0).period)
