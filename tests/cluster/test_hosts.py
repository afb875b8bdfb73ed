"""A fleet of three hosts: the network between them fails, and nobody's answer does."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.cluster import STEADY, FleetOnCluster, pieces, until
from tests.support.hosts import HostNetwork

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.heavy, pytest.mark.timeout(600)]

CUT = 20.0
"""Seconds."""

NODE_TIMEOUT = 4.0

LONG = {
    "model": STEADY,
    "messages": [{"role": "user", "content": "What is edgeinfer?"}],
    "max_tokens": 3000,
    "ignore_eos": True,
    "seed": 7,
}
SHORT = {**LONG, "max_tokens": 40}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOnCluster]:
    """A head that listens, and two nodes, of which one computes until two are needed."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("hosts are network namespaces, which root makes with iproute2")
    network = HostNetwork()
    fleet = FleetOnCluster(
        tmp_path_factory.mktemp("hosts"), network, model="fake:10", parallel=2, node_timeout=NODE_TIMEOUT
    )
    try:
        fleet.up("--replicas", "auto")
        fleet.join()
        fleet.join()
        until(fleet.is_ready)
        yield fleet
    finally:
        fleet.close()
        network.close()


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
    whole, short = answer(fleet, **LONG), answer(fleet, **SHORT)
    text, at_the_cut, at_the_end, reconnect_at = "", 0, 0, 0.0
    others: list[Future[str]] = []
    with ThreadPoolExecutor(4) as pool:
        for number, piece in enumerate(pieces(fleet, **LONG)):
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
