"""How much of prompts is in a KV cache where they go: counted with the real caches and the real choice, without time."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import cycle

import pytest

from edgeinfer.cluster.affinity import PrefixAffinity
from edgeinfer.cluster.routing import RoutingKey, prompt_blocks
from edgeinfer.engine.config import EngineConfig
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.engine.kv_cache import Owner
from edgeinfer.engine.kv_streams import StreamsCache
from edgeinfer.inference.types import Span

REPLICAS, CONVERSATIONS, TURNS = 8, 16, 5
SYSTEM, QUESTION, ANSWER = 1100, 200, 40

Choice = Callable[[RoutingKey], int]


def text(seed: str, length: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choices("abcdefghij ", k=length))


def cache() -> StreamsCache:
    """That of a replica with two slots, as a Raspberry Pi has."""
    config = EngineConfig(ctx=4096, parallel=2, cells=0)
    return StreamsCache(FakeBackend(config), config.slots, config.ctx)


def hit_rate(choose: Choice, sessions: bool = True, order: int = 0) -> float:
    """The share of tokens from a cache when all conversations take their turns, two of them with each system prompt."""
    caches = [cache() for _ in range(REPLICAS)]
    said = [text(f"system {n // 2}", SYSTEM) for n in range(CONVERSATIONS)]
    cached = total = 0
    for turn in range(TURNS):
        turns = list(range(CONVERSATIONS))
        random.Random(f"{order} {turn}").shuffle(turns)
        for n in turns:
            said[n] += text(f"question {n} {turn}", QUESTION)
            session = str(n) if sessions else ""
            key = RoutingKey(f"{n} {turn}", "m", session, prompt_blocks([Span(said[n], trusted=True)]))
            tokens = list(said[n].encode())
            kv = caches[choose(key)]
            slot = kv.admit(tokens, owner=Owner("caller", session))
            assert slot
            cached += len(slot.tokens)
            total += len(tokens)
            answer = text(f"answer {n} {turn}", ANSWER)
            kv.commit(slot, [*tokens[len(slot.tokens) :], *answer.encode()])
            kv.release(slot)
            said[n] += answer
    return cached / total


def by_affinity() -> Choice:
    affinity = PrefixAffinity[int]()
    idle = dict.fromkeys(range(REPLICAS), 0)

    def choose(key: RoutingKey) -> int:
        best = affinity.choose(key, idle)
        chosen = affinity.least_busy(idle)[0] if best is None else best
        affinity.record(key, chosen)
        return chosen

    return choose


def in_turn() -> Choice:
    replicas = cycle(range(REPLICAS))
    return lambda _: next(replicas)


def test_conversations_find_twice_as_much_in_a_cache_as_with_round_robin() -> None:
    """They find all that can be there, to a few letters: new is each question, and each system prompt once."""
    prompts = sum(SYSTEM + turn * (QUESTION + ANSWER) + QUESTION for turn in range(TURNS)) * CONVERSATIONS
    new = CONVERSATIONS // 2 * SYSTEM + CONVERSATIONS * TURNS * QUESTION
    for order in range(3):
        ours = hit_rate(by_affinity(), order=order)
        assert 1 - new / prompts == pytest.approx(ours, abs=1e-3)
        assert ours >= 2 * hit_rate(in_turn(), order=order)


def test_conversations_without_a_name_are_found_by_their_beginning() -> None:
    for order in range(3):
        assert hit_rate(by_affinity(), sessions=False, order=order) >= 2 * hit_rate(in_turn(), order=order)
