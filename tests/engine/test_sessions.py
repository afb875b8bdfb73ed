"""What a session's prefix is worth: its caller's other requests leave it, and nobody else pays for that."""

from __future__ import annotations

import random

import pytest

from edgeinfer.engine.engine import Engine
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.kv_cache import KVCache, Owner
from tests.support.engine import LAYOUTS, Clock, config, decode_alone

both = pytest.mark.parametrize("layout", LAYOUTS)
CHAT = Owner("alice", "chat")
ALICE, BOB = Owner("alice"), Owner("bob")


class Cache:
    """A cache, driven as the engine drives it."""

    def __init__(self, layout: str, parallel: int) -> None:
        settings = config(layout, parallel=parallel, ctx=256, cells=256 * (parallel + 1))
        self.backend = FakeBackend(settings)
        self.cache: KVCache = Engine(self.backend, settings, Clock()).cache

    def run(self, owner: Owner, tokens: list[int]) -> int:
        """Compute `tokens` and leave them; -> how many of them were there."""
        slot = self.cache.admit(tokens, owner=owner)
        assert slot is not None
        found = len(slot.tokens)
        assert self.cache.reserve(slot, len(tokens) - found)
        decode_alone(self.backend, slot.id, tokens[found:])
        self.cache.commit(slot, tokens[found:])
        self.cache.release(slot)
        self.cache.check_integrity()
        return found


def text(seed: int, n: int = 100) -> list[int]:
    return [200 + seed, *random.Random(seed).choices(range(200), k=n - 1)]


@both
def test_a_session_outlives_its_caller_s_other_requests(layout: str) -> None:
    """They use the other slots; without a session, the oldest prefix goes."""
    for owner, kept in ((CHAT, 100), (ALICE, 0)):
        cache = Cache(layout, parallel=2)
        cache.run(owner, text(0))
        for seed in range(1, 20):
            cache.run(ALICE, text(seed))
        assert cache.run(owner, [*text(0), 1]) == kept


@both
def test_another_caller_evicts_what_was_used_least_recently(layout: str) -> None:
    """A session protects nothing from others: they would pay for it."""
    cache = Cache(layout, parallel=2)
    cache.run(CHAT, text(0))
    for seed in range(1, 20):
        cache.run(BOB, text(seed))
    assert cache.run(CHAT, [*text(0), 1]) == 0


@both
def test_a_session_does_not_push_others_out_earlier(layout: str) -> None:
    """What of another caller is the oldest goes first with or without a session, and nothing else of hers."""
    found = []
    for owner in (CHAT, ALICE):
        cache = Cache(layout, parallel=3)
        cache.run(owner, text(0))
        cache.run(BOB, text(1))
        cache.run(ALICE, text(2))
        for seed in range(3, 3 + 1):
            cache.run(ALICE, text(seed))  # all slots are full
        cache.run(ALICE, text(5))
        found.append(cache.cache.num_resident(text(1)))
    assert found == [100, 100]


@both
def test_many_sessions_of_one_caller_share_the_slots(layout: str) -> None:
    """If each of its requests has one, the oldest goes."""
    cache = Cache(layout, parallel=2)
    for seed in range(20):
        cache.run(Owner("alice", f"chat {seed}"), text(seed))
    assert [cache.cache.num_resident(text(seed)) > 0 for seed in (0, 18, 19)] == [False, True, True]


def test_a_prefix_in_common_does_not_cost_the_session_its_rest() -> None:
    """Another request with the same system text copies that, instead of taking the slot over."""
    cache = Cache("streams", parallel=2)
    system = text(0, 80)
    cache.run(CHAT, [*system, *text(1, 60)])
    assert cache.run(ALICE, [*system, *text(2, 20)]) == 80
    assert cache.run(CHAT, [*system, *text(1, 60), 5]) == 140
