"""A fleet of two nodes behind one address: real Ray, real llama.cpp."""

from __future__ import annotations

from tests.support.cluster import FleetOnCluster, pieces

LONG = {
    "messages": [{"role": "user", "content": "What is edgeinfer?"}],
    "max_tokens": 200,
    "ignore_eos": True,
    "seed": 7,
}


def test_a_chat_is_streamed_through_the_fleet(fleet: FleetOnCluster) -> None:
    """The same seed gives the same text, whichever replica answers."""
    first, *others = ("".join(pieces(fleet.url, **LONG)) for _ in range(3))
    assert len(first) > 100
    assert [first] * 2 == others
