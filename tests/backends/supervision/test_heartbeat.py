"""Silence of the engine is a hang once it exceeds a limit that its own steps set."""

from __future__ import annotations

from edgeinfer.backends.supervision.heartbeat import Heartbeat


def silent(heartbeat: Heartbeat, ticks: int) -> Heartbeat:
    for _ in range(ticks):
        heartbeat.tick()
    return heartbeat


def test_silence_counts_from_the_first_ping() -> None:
    """The first tick sends it."""
    heartbeat = Heartbeat(60.0)
    assert heartbeat.tick()
    assert (0.0, False) == (heartbeat.silence, heartbeat.hung)
    assert not heartbeat.tick()
    assert heartbeat.period == heartbeat.silence


def test_pong_lets_the_next_tick_ping_again() -> None:
    """The silence is over."""
    heartbeat = silent(Heartbeat(60.0), 3)
    heartbeat.on_pong()
    assert 0.0 == heartbeat.silence
    assert heartbeat.tick()


def test_silence_beyond_the_limit_is_a_hang() -> None:
    """It is one for as long as it lasts, even if the process does not die."""
    heartbeat = silent(Heartbeat(60.0), 13)
    assert (60.0, False) == (heartbeat.silence, heartbeat.hung)
    assert silent(heartbeat, 1).hung
    assert silent(heartbeat, 100).hung


def test_step_ends_the_silence_but_is_not_a_pong() -> None:
    """The ping is answered between two steps."""
    heartbeat = silent(Heartbeat(60.0), 13)
    heartbeat.on_step(100.0)
    assert (0.0, 60.0) == (heartbeat.silence, heartbeat.limit)
    assert not heartbeat.tick()
    assert heartbeat.period == heartbeat.silence


def test_limit_grows_with_the_longest_step() -> None:
    """A shorter step after it changes nothing."""
    heartbeat = Heartbeat(60.0)
    heartbeat.on_step(20_000.0)
    heartbeat.on_step(10.0)
    assert 200.0 == heartbeat.limit
    assert not silent(heartbeat, 40).hung
    assert silent(heartbeat, 2).hung


def test_period_is_shorter_where_the_limit_is_short() -> None:
    """A hang is to be found in time."""
    assert (5.0, 0.25) == (Heartbeat(600.0).period, Heartbeat(1.0).period)
