"""The files in deploy/ put real gateways in front of two daemons, and nothing is lost when one of them ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.gateways import Load, basic, gateway, question
from tests.support.nano_daemon import NanoDaemon
from tests.support.server import eventually

pytestmark = [pytest.mark.slow, pytest.mark.alone]

NAMES = ("nginx", "haproxy", "caddy")

Daemons = tuple[NanoDaemon, NanoDaemon]
Files = tuple[Path, Path]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(300)
def test_no_request_is_lost_when_a_daemon_stops_and_another_is_killed(
    name: str, daemons: Daemons, certificate: Files, api_key: tuple[str, Path], tmp_path: Path
) -> None:
    """Only what had begun to stream from the killed one may be cut."""
    one, two = daemons

    def has_answered(daemon: NanoDaemon) -> bool:
        key = {"Authorization": f"Bearer {api_key[0]}"}
        return daemon.metric("completion_tokens_total", **key) > 0

    with gateway(name, daemons, certificate, tmp_path, api_key[0]) as running, Load(running, 6) as load:
        load.answer_more(8)
        assert one.stop() == 0
        load.answer_more(8)
        one.start()
        assert eventually(lambda: has_answered(one), 60), "the gateway has seen that it is there again"
        assert (load.lost, load.cut) == ([], 0), "a daemon that stops ends its answers first"
        two.kill()
        load.answer_more(8)
        two.start()
        load.answer_more(8)
    assert load.lost == []
    assert load.cut <= 6, "one for each client"


@pytest.mark.parametrize("name", NAMES)
def test_tokens_arrive_one_by_one(
    name: str, daemons: Daemons, certificate: Files, api_key: tuple[str, Path], tmp_path: Path
) -> None:
    """The first is there while the daemon still computes the others, and a client that leaves ends the work."""
    key = {"Authorization": f"Bearer {api_key[0]}"}

    def running() -> float:
        return sum(daemon.metric("running", **key) for daemon in daemons)

    with gateway(name, daemons, certificate, tmp_path, api_key[0]) as front, front.client() as client:
        asked = question(3500, stream=True, ignore_eos=True)
        with client.stream("POST", "/v1/chat/completions", json=asked) as response:
            texts = response.iter_text()
            while '"content"' not in next(texts):
                pass
            assert running() == 1
        assert eventually(lambda: running() == 0, 10)
        for path in ("/metrics", "/status", "/machine", "/history", "/peers", "/mcp/tools"):
            assert client.get(path).status_code == 404, f"{path} is not for everybody"
        assert (
            client.post("/v1/completions", json={"prompt": "x" * 200_000, "max_tokens": 1}).status_code == 400
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_password_stands_for_the_key(
    name: str, daemons: Daemons, certificate: Files, api_key: tuple[str, Path], tmp_path: Path
) -> None:
    with gateway(name, daemons, certificate, tmp_path, api_key[0], password="sesame") as front:
        with front.client() as client:
            assert client.get("/v1/models").status_code == 401
        with front.client(Authorization=basic("ada", "wrong")) as client:
            assert client.get("/v1/models").status_code == 401
        with front.client(Authorization=basic("ada", "sesame")) as client:
            assert client.get("/v1/models").status_code == 200
            answer = client.post("/v1/chat/completions", json=question(4))
            assert json.loads(answer.text)["choices"]
