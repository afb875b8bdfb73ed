"""A replica, a node and the head are lost while an answer streams: it ends with the text that it would have had."""

from __future__ import annotations

import itertools
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.cluster import LONG, FleetOnCluster, Node, Replica, interrupted, pieces, until


@pytest.fixture(scope="module")
def whole(fleet: FleetOnCluster) -> str:
    """The answer without a loss."""
    text = "".join(pieces(fleet, **LONG))
    assert len(text) > 400
    assert text == "".join(pieces(fleet, **LONG))
    return text


def test_a_replica_that_is_killed_is_no_loss(fleet: FleetOnCluster, whole: str) -> None:
    assert whole == interrupted(fleet, lambda replica: replica.signal(signal.SIGKILL), **LONG)
    until(lambda: len(fleet.replicas()) == 2 and fleet.parallel() == 4)


def test_a_node_that_is_cut_off_is_left_and_never_answers_twice(fleet: FleetOnCluster, whole: str) -> None:
    """It is frozen, and thaws when another one has gone on: nothing that it says then is heard."""
    frozen: list[Replica] = []

    def freeze(replica: Replica) -> None:
        replica.signal(signal.SIGSTOP)
        frozen.append(replica)

    try:
        assert whole == interrupted(fleet, freeze, **LONG)
    finally:
        for replica in frozen:
            replica.signal(signal.SIGCONT)
    until(lambda: len(fleet.replicas()) == 2 and fleet.parallel() == 4)


def test_the_head_is_not_needed_while_it_is_away_and_remembers_all(fleet: FleetOnCluster, whole: str) -> None:
    """Its state is on its disk."""
    assert whole == interrupted(fleet, lambda _: fleet.head.kill(), **LONG)
    assert whole == "".join(pieces(fleet, **LONG))
    fleet.up()
    until(lambda: len(fleet.replicas()) == 2 and fleet.parallel() == 4)
    assert whole == "".join(pieces(fleet, **LONG))


def test_a_node_that_joins_adds_its_capacity_and_one_that_leaves_ends_its_answers(
    fleet: FleetOnCluster, whole: str
) -> None:
    third = fleet.join()
    until(lambda: fleet.parallel() == 6)
    assert whole == interrupted(fleet, lambda _: third.run("down"), **LONG)
    fleet.nodes.remove(third)
    until(lambda: fleet.parallel() == 4)


def test_a_node_that_is_killed_is_no_loss(fleet: FleetOnCluster, whole: str) -> None:
    """The other one, which listens, computes the rest."""
    other: Node = fleet.nodes[1]

    def lose(replica: Replica) -> None:
        if replica.node is other:
            other.kill()

    with ThreadPoolExecutor(1) as pool:
        for first in itertools.cycle(
            ({}, {**LONG, "max_tokens": 60})
        ):  # of idle replicas the same one may always win
            if first:
                pool.submit(lambda body: list(pieces(fleet, **body)), first)
                until(lambda: any(node["running"] for node in fleet.client.get("/peers").json()["peers"]))
            assert whole == interrupted(fleet, lose, **LONG)
            if not other.processes():
                break
    fleet.rejoin(other)
    until(lambda: len(fleet.replicas()) == 2 and fleet.parallel() == 4)
