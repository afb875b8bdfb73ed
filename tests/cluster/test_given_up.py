"""A host is cut off for so long that Ray gives it up; it comes back as a node like any other that joins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cluster import BRISK, LONG, SLOW, FleetOnCluster, Node, pieces, three_hosts, until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

SHORT = {**LONG, "max_tokens": 40}
LASTING = {**LONG, "max_tokens": 3600}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOnCluster]:
    with three_hosts(tmp_path, ctx=4096) as fleet:
        until(lambda: fleet.parallel() == 4)
        yield fleet


def answer(fleet: FleetOnCluster, **body: object) -> str:
    return "".join(pieces(fleet, **body))


def is_alive(fleet: FleetOnCluster, node: Node) -> bool:
    """Whether Ray counts it among its nodes."""
    nodes = json.loads(fleet.head.run("status", "--json"))["nodes"]
    assert node.host
    return any(one["alive"] for one in nodes if one["address"] == node.host.address)


def test_a_host_that_is_given_up_is_missed_by_nobody_and_computes_again_once_it_is_back(
    fleet: FleetOnCluster,
) -> None:
    """Its answer goes on elsewhere with the same text, and nothing that it says at its return is heard."""
    whole, short = answer(fleet, **{**LASTING, "model": BRISK}), answer(fleet, **SHORT)
    text = ""
    at_its_return: list[int] = []

    def outage(lost: Node) -> None:
        """Cut it off until Ray has given it up; others ask before and after that."""
        assert lost.host
        lost.host.cut_off()
        for _ in range(6):
            assert short == answer(fleet, **SHORT)
        until(lambda: not is_alive(fleet, lost))
        for _ in range(6):
            assert short == answer(fleet, **SHORT)
        lost.host.reconnect()
        until(lambda: is_alive(fleet, lost))
        at_its_return.append(len(text))

    with ThreadPoolExecutor(1) as pool:
        for number, piece in enumerate(pieces(fleet, **{**LASTING, "model": SLOW})):
            text += piece
            if number == 20:
                lost = fleet.answering().node
                cut = pool.submit(outage, lost)
        cut.result()
    assert whole == text
    assert at_its_return[0] < len(whole)
    until(lambda: fleet.parallel() == 4)
    (other,) = (node.host for node in fleet.nodes if node is not lost)
    assert other
    other.cut_off()
    assert short == answer(fleet, **SHORT)
    other.reconnect()
