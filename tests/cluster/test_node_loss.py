"""`on_node_loss` where machines of two classes have the same model in different quantizations: real Ray, real llama.cpp."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cluster import FleetOnCluster, Node, free_port, until
from tests.support.requantized import write_requantized

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]

MODEL = "shared"
TOKENS = 1800
QUESTION = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is edgeinfer?"}],
    "max_tokens": TOKENS,
    "ignore_eos": True,
    "seed": 7,
    "stream": True,
    "stream_options": {"include_usage": True},
}


class LossyFleet:
    """Two nodes with one model in two quantizations, and an ingress for each value of `on_node_loss`."""

    def __init__(self, folder: Path, files: dict[str, Path]) -> None:
        """`files` are the model's, by hardware class. The last ingress is on a node that computes nothing."""
        self.cluster = FleetOnCluster(folder, ctx=2048, parallel=1, node_timeout=4)
        self.cluster.up("--model", MODEL)
        self._ports = {policy: free_port() for policy in ("resume", "fail", "same-model")}
        self._options: dict[Node, list[str]] = {}
        for number, policy in enumerate(self._ports):
            config = folder / f"{policy}.toml"
            variables = {
                "EDGEINFER_CONFIG": str(config),
                "EDGEINFER_PORT": str(self._ports[policy]),
                "EDGEINFER_ON_NODE_LOSS": policy,
            }
            if number < len(files):
                name, file = list(files.items())[number]
                config.write_text(f'[models.{MODEL}]\nmodel = "{file}"\n')
                options = ["--listen", f"--class={name}"]
            else:
                config.write_text("")
                options = ["--listen", "--no-engine"]
            self._options[self.cluster.join(*options, **variables)] = options
        until(self.is_whole)

    def is_whole(self) -> bool:
        """Whether both nodes answer, and each ingress knows of them."""
        return all(self._slots(port) == 2 for port in self._ports.values())

    def rejoin(self, node: Node) -> None:
        self.cluster.rejoin(node, *self._options[node])

    def events(self, policy: str, session: str) -> Iterator[dict[str, Any]]:
        """The events of an answer from the ingress with that policy."""
        url = f"http://127.0.0.1:{self._ports[policy]}/v1/chat/completions"
        headers = {"X-Session-Id": session}
        with httpx.stream("POST", url, json=QUESTION, headers=headers, timeout=180) as response:
            assert response.status_code == 200, response.read()
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line.removeprefix("data: "))

    def resumed(self, policy: str) -> float:
        """Answers that another replica has continued, as the ingress with that policy counts them."""
        metrics = httpx.get(f"http://127.0.0.1:{self._ports[policy]}/metrics").text
        return next(
            float(line.rpartition(" ")[2])
            for line in metrics.splitlines()
            if line.startswith(f'edgeinfer_resumed_streams_total{{model="{MODEL}"}}')
        )

    def _slots(self, port: int) -> int:
        try:
            return int(httpx.get(f"http://127.0.0.1:{port}/props").json()["total_slots"])
        except (httpx.TransportError, KeyError):
            return 0


class Answer:
    """What has come of an answer.

    Attributes:
        error: the one that ended it; None if it has none.
        models: the descriptions of the files that have written it, if the end of the answer names several.
    """

    def __init__(self) -> None:
        self.text = ""
        self.tokens = 0
        self.error: dict[str, Any] | None = None
        self.models: list[str] = []

    def add(self, event: dict[str, Any]) -> None:
        self.error = event.get("error", self.error)
        self.text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
        self.tokens = (event.get("usage") or {}).get("completion_tokens", self.tokens)
        self.models = (event.get("timings") or {}).get("models", self.models)


def ask(fleet: LossyFleet, policy: str, loses: str = "") -> Answer:
    """An answer that loses its "replica" or its "node" after some of it."""
    answer = Answer()
    for number, event in enumerate(fleet.events(policy, policy)):
        answer.add(event)
        if number == 20 and loses:
            replica = fleet.cluster.answering()
            if loses == "node":
                replica.node.kill()
            else:
                replica.signal(signal.SIGKILL)
    return answer


@pytest.fixture(scope="module")
def fleet(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LossyFleet]:
    folder = tmp_path_factory.mktemp("classes")
    small = folder / "small.gguf"
    write_requantized(model_file, small)
    fleet = LossyFleet(folder, {"large": model_file, "small": small})
    try:
        yield fleet
    finally:
        fleet.cluster.close()


def test_resume_goes_on_in_the_other_quantization_and_the_answer_names_both(fleet: LossyFleet) -> None:
    answer = ask(fleet, "resume", "replica")
    assert answer.error is None
    assert answer.tokens == TOKENS
    assert sorted(model.rpartition(" ")[2] for model in answer.models) == ["Q4_0", "Q8_0"]
    until(fleet.is_whole)


def test_same_model_waits_for_the_same_file_though_the_other_class_is_idle(fleet: LossyFleet) -> None:
    """Ray Serve starts the replica again, which has it: the end of the answer names no second file."""
    before = fleet.resumed("same-model")
    answer = ask(fleet, "same-model", "replica")
    assert answer.error is None
    assert answer.tokens == TOKENS
    assert answer.models == []
    assert fleet.resumed("same-model") == before + 1
    until(fleet.is_whole)


def test_same_model_ends_with_an_error_if_nobody_has_the_file(fleet: LossyFleet) -> None:
    """It says which file the others have instead."""
    answer = ask(fleet, "same-model", "node")
    assert answer.error
    assert answer.error["code"] == "model_replaced"
    assert f"has another file of {MODEL}" in answer.error["message"]
    assert 0 < len(answer.text)
    (lost,) = (node for node in fleet.cluster.nodes if not node.processes())
    fleet.rejoin(lost)
    until(fleet.is_whole)


def test_fail_ends_with_an_error_that_says_what_was_lost_and_what_would_have_helped(
    fleet: LossyFleet,
) -> None:
    answer = ask(fleet, "fail", "replica")
    assert answer.error
    assert answer.error["code"] == "worker_died"
    assert "which was computing this answer, is gone" in answer.error["message"]
    until(fleet.is_whole)
