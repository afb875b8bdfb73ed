"""Two versions of a fleet's model: one is tried on a share of the conversations, and then takes the other's place."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from edgeinfer.cluster.canary import MARK
from edgeinfer.cluster.canary_split import point
from edgeinfer.serving.caller import opaque
from tests.support.cluster import BRISK, STEADY, FleetOnCluster, two_nodes, until

pytestmark = pytest.mark.heavy
SHORT = {"messages": [{"role": "user", "content": "What is edgeinfer?"}], "max_tokens": 4, "seed": 7}
SESSIONS = [f"conversation {number}" for number in range(24)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOnCluster]:
    """Two nodes that serve STEADY."""
    with two_nodes(tmp_path_factory.mktemp("versions"), "--model", STEADY, parallel=4, queue=64) as fleet:
        yield fleet


def answer(fleet: FleetOnCluster, session: str = "", **more: object) -> dict[str, Any]:
    headers = {"X-Session-Id": session} if session else {}
    reply = httpx.post(
        f"{fleet.url}/v1/chat/completions", json={**SHORT, **more}, headers=headers, timeout=120
    )
    assert reply.status_code == 200, reply.text
    body: dict[str, Any] = reply.json()
    return body


def tried(fleet: FleetOnCluster) -> set[str]:
    """The conversations that the canary answers."""
    with ThreadPoolExecutor(8) as pool:
        models = pool.map(lambda session: answer(fleet, session)["model"], SESSIONS)
        return {session for session, model in zip(SESSIONS, models, strict=True) if model == BRISK}


def share(weight: float) -> set[str]:
    """The conversations that it is to answer."""
    return {session for session in SESSIONS if point(opaque("session", session)) < weight / 100}


def test_a_canary_answers_its_share_and_a_conversation_stays_with_its_version(fleet: FleetOnCluster) -> None:
    """The next turn goes where the last one went, and a larger weight takes nobody away from the canary."""
    assert tried(fleet) == set()
    fleet.head.run("canary", BRISK, "--weight", "25")
    until(lambda: tried(fleet) == share(25))
    assert 0 < len(share(25)) < len(share(60)) < len(SESSIONS)
    assert share(25) == tried(fleet)
    fleet.head.run("canary", BRISK, "--weight", "60")
    until(lambda: tried(fleet) == share(60))
    assert BRISK == answer(fleet, model=BRISK)["model"]


def test_a_canary_that_is_lost_leaves_its_conversations_to_the_other_version(fleet: FleetOnCluster) -> None:
    """Until Ray Serve has made another one, they are answered all the same."""
    (canary,) = (replica for replica in fleet.replicas() if MARK in replica.process.cmdline()[0])
    canary.signal(signal.SIGKILL)
    for _ in range(3):
        assert tried(fleet) <= share(60)
    until(lambda: tried(fleet) == share(60))


def test_a_fleet_changes_to_another_model_and_loses_no_request(fleet: FleetOnCluster) -> None:
    """Node by node; answers that run at the change end where they began."""
    fleet.head.run("canary")
    until(lambda: tried(fleet) == set())
    models: list[str] = []
    changed = threading.Event()

    def ask(lengths: Iterator[int]) -> None:
        while not changed.is_set():
            length = next(lengths)
            body = answer(fleet, max_tokens=length, ignore_eos=True)
            assert length == body["usage"]["completion_tokens"]
            models.append(body["model"])

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(ask, itertools.cycle((5, 40, 400))) for _ in range(4)]
        try:
            fleet.head.run("update", BRISK)
            until(lambda: models[-20:].count(BRISK) == 20 and fleet.parallel() == 8)
        finally:
            changed.set()
        for asker in askers:
            asker.result()
    assert {STEADY, BRISK} == set(models)
    assert BRISK == answer(fleet)["model"]
