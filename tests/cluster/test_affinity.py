"""Which replica gets a request: the one with its prompt in the cache, unless others wait there."""

from __future__ import annotations

from edgeinfer.cluster.affinity import MAX_GAP, PrefixAffinity
from edgeinfer.cluster.routing import BLOCK, RoutingKey, prompt_blocks
from edgeinfer.inference.types import Span

IDLE = {"a": 0, "b": 0, "c": 0}
SYSTEM = "You are a helpful assistant. " * (2 * BLOCK // 29 + 1)


def key(text: str = "", session: str = "", model: str = "m", domain: str = "") -> RoutingKey:
    return RoutingKey("request", model, session, prompt_blocks([Span(text, trusted=False)], domain))


def test_a_prompt_goes_where_its_beginning_was_computed() -> None:
    affinity = PrefixAffinity[str]()
    affinity.record(key(SYSTEM + "one question" * 200), "b")
    assert "b" == affinity.choose(key(SYSTEM + "another question" * 200), IDLE)


def test_of_two_beginnings_the_longer_one_counts() -> None:
    affinity = PrefixAffinity[str]()
    story = SYSTEM + "once upon a time " * 200
    affinity.record(key(story), "b")
    affinity.record(key(SYSTEM), "c")
    assert "b" == affinity.choose(key(story + "the end " * 200), IDLE)
    assert "c" == affinity.choose(key(SYSTEM + "something else " * 200), IDLE)


def test_a_conversation_with_a_name_stays_however_short_it_is() -> None:
    affinity = PrefixAffinity[str]()
    affinity.record(key("Hi", session="ada"), "c")
    assert "c" == affinity.choose(key("Hello", session="ada"), IDLE)
    assert affinity.choose(key("Hello", session="bob"), IDLE) is None


def test_nothing_is_preferred_for_what_is_new() -> None:
    affinity = PrefixAffinity[str]()
    affinity.record(key(SYSTEM), "b")
    assert affinity.choose(key("Something else. " * 300), IDLE) is None
    assert affinity.choose(key(SYSTEM, model="another"), IDLE) is None
    assert affinity.choose(key(SYSTEM, domain="secret"), IDLE) is None
    assert affinity.choose(key(SYSTEM), {}) is None


def test_a_long_queue_is_avoided_until_it_is_shorter() -> None:
    affinity = PrefixAffinity[str]()
    affinity.record(key(SYSTEM), "b")
    assert "b" == affinity.choose(key(SYSTEM), {**IDLE, "b": MAX_GAP})
    assert affinity.choose(key(SYSTEM), {**IDLE, "b": MAX_GAP + 1}) is None
    assert "b" == affinity.choose(key(SYSTEM), {"a": 9, "b": 9 + MAX_GAP, "c": 20})


def test_of_several_that_have_it_the_least_busy_is_taken() -> None:
    affinity = PrefixAffinity[str]()
    for replica in "abc":
        affinity.record(key(SYSTEM), replica)
    assert "b" == affinity.choose(key(SYSTEM), {"a": 3, "b": 1, "c": 2})


def test_a_replica_that_is_gone_is_not_chosen() -> None:
    affinity = PrefixAffinity[str]()
    affinity.record(key(SYSTEM), "a")
    affinity.record(key(SYSTEM), "b")
    assert "a" == affinity.choose(key(SYSTEM), {"a": 0, "c": 0})


def test_the_oldest_are_forgotten_first() -> None:
    affinity = PrefixAffinity[str](size=2)
    for name in ("one", "two", "three"):
        affinity.record(key(session=name), "a")
    assert affinity.choose(key(session="one"), IDLE) is None
    assert "a" == affinity.choose(key(session="three"), IDLE)


def test_new_prompts_go_to_the_least_busy_and_of_equals_to_the_longest_unused() -> None:
    """Else a quiet fleet would use one of its caches."""
    affinity = PrefixAffinity[str]()
    for replica in "bac":
        affinity.record(key(session=replica), replica)
    assert ["b", "a"] == affinity.least_busy(IDLE)
    assert ["d", "b"] == affinity.least_busy({**IDLE, "d": 0})
    assert ["c"] == affinity.least_busy({"a": 2, "b": 3, "c": 0, "d": 1})
