"""A fleet of three hosts: the network between them fails, and nobody's answer does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.cluster import LONG, FleetOnCluster, pieces, three_hosts, until

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.heavy, pytest.mark.timeout(600)]

CUT = 20.0
"""Seconds."""

LONGER = {**LONG, "max_tokens": 3000}
SHORT = {**LONG, "max_tokens": 40}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOnCluster]:
    """A head that listens, and two nodes, of which one computes until two are needed."""
    with three_hosts(tmp_path_factory.mktemp("hosts"), "--replicas", "auto") as fleet:
        yield fleet


def answer(fleet: FleetOnCluster, **body: object) -> str:
    return "".join(pieces(fleet, **body))


def test_a_second_replica_comes_when_requests_wait(fleet: FleetOnCluster) -> None:
    """One is enough for an idle fleet."""
    assert len(fleet.replicas()) == 1
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: answer(fleet, **{**SHORT, "max_tokens": 200}), range(16)))
    assert len(set(answers)) == 1
    until(lambda: len(fleet.replicas()) == 2 and fleet.parallel() == 4)


def test_a_host_that_is_cut_off_answers_nothing_twice_and_keeps_nobody_waiting(
    fleet: FleetOnCluster,
) -> None:
    """Its answer goes on elsewhere, as do all that come meanwhile; once it is back, it computes again."""
    whole, short = answer(fleet, **LONGER), answer(fleet, **SHORT)
    text, at_the_cut, at_the_end, reconnect_at = "", 0, 0, 0.0
    others: list[Future[str]] = []
    with ThreadPoolExecutor(4) as pool:
        for number, piece in enumerate(pieces(fleet, **LONGER)):
            text += piece
            if number == 20:
                host = fleet.answering().node.host
                assert host
                host.cut_off()
                reconnect_at = time.monotonic() + CUT
                at_the_cut = len(text)
                others += [pool.submit(answer, fleet, **SHORT) for _ in range(6)]
            elif not at_the_end and reconnect_at and time.monotonic() > reconnect_at:
                at_the_end = len(text)
                assert all(one.done() for one in others)
                assert host
                host.reconnect()
    assert whole == text
    assert 0 < at_the_cut < at_the_end < len(whole)
    assert {short} == {one.result() for one in others}
    (other,) = (node.host for node in fleet.nodes if node.host is not host)
    assert other
    other.cut_off()
    assert short == answer(fleet, **SHORT)
    other.reconnect()
