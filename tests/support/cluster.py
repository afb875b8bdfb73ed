"""A cluster of real Ray nodes on this machine, made by the commands that users have."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from edgeinfer.cluster.deployment import FLEET
from edgeinfer.cluster.node import NodeFolder, NodeRecord
from tests.support.hosts import Host, HostNetwork

START = 180.0
"""Seconds that a fleet may take to answer on a busy machine."""


KEY = "a-key-for-clients-of-the-fleet-in-tests"

STEADY = "steady"
"""A second model, which computes a token in 10 ms, and always the same ones."""

BRISK = "brisk"
"""A third one, which takes 5 ms."""

SLOW = "slow"
"""One more, which takes 50 ms. All of them have the same answers."""

TOKEN_MS = {STEADY: 10, BRISK: 5, SLOW: 50}

LONG = {
    "model": STEADY,
    "messages": [{"role": "user", "content": "What is edgeinfer?"}],
    "max_tokens": 500,
    "ignore_eos": True,
    "seed": 7,
}
"""A request whose answer takes seconds, and has always the same text."""


class Node:
    """A node of its own state folder. The machine may have several."""

    def __init__(self, folder: Path, environ: dict[str, str], host: Host | None = None) -> None:
        """`host` runs it instead of this machine."""
        self.host = host
        self._environ = {**environ, "XDG_STATE_HOME": str(folder)}
        self.folder = NodeFolder(folder / "edgeinfer" / "cluster")

    def run(self, *arguments: str) -> str:
        """Run `edgeinfer cluster ARGUMENTS`; -> its standard output."""
        return self.python("-m", "edgeinfer", "cluster", *arguments)

    def python(self, *arguments: str) -> str:
        """Run `python ARGUMENTS`; -> its standard output."""
        before = self.host.command if self.host else []
        command = [*before, sys.executable, *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def processes(self) -> list[psutil.Process]:
        """All that runs on the node."""
        record = self.folder.record()
        try:
            process = psutil.Process(record.pid if record else -1)
            return [process, *process.children(recursive=True)]
        except (psutil.NoSuchProcess, ValueError):
            return []

    def kill(self) -> None:
        """End it as a power cut would."""
        processes = self.processes()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, 30)

    @property
    def record(self) -> NodeRecord:
        record = self.folder.record()
        assert record
        return record


class FleetOnCluster:
    """A head that computes nothing, and nodes with the bundled model.

    Attributes:
        url: of the ingress.
        client: speaks with it.
        nodes: those besides the head.
    """

    def __init__(self, folder: Path, network: HostNetwork | None = None, **settings: object) -> None:
        """`network`: each node is a host of its own in it, and the head listens for clients."""
        port, self._head_port = free_port(), free_port()
        self._folder = folder
        self._network = network
        config, keys = folder / "config.toml", folder / "keys"
        config.write_text("".join(f'[models.{name}]\nmodel = "fake:{ms}"\n' for name, ms in TOKEN_MS.items()))
        keys.write_text(f"{KEY}\n")
        keys.chmod(0o600)
        self._environ = {
            **os.environ,
            "EDGEINFER_CONFIG": str(config),
            "EDGEINFER_API_KEY_FILE": str(keys) if network else "",
            "EDGEINFER_PORT": str(port),
            "XDG_CONFIG_HOME": str(folder),
            **{f"EDGEINFER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        host = network.add_host() if network else None
        self._environ["EDGEINFER_HOST"] = host.address if host else "127.0.0.1"
        self.url = f"http://{self._environ['EDGEINFER_HOST']}:{port}"
        self.client = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=START
        )
        self.head = Node(folder / "head", self._environ, host)
        self.nodes: list[Node] = []

    def up(self, *options: str) -> None:
        """Start the head, or start it again."""
        host = self.head.host
        where = [f"--address={host.address}"] if host else ["--no-listen"]
        self.head.run("up", f"--port={self._head_port}", "--no-engine", *where, *options)

    def join(self, *options: str, **environ: str) -> Node:
        """Add a node; `environ` are variables of its own."""
        host = self._network.add_host() if self._network else None
        node = Node(self._folder / f"node-{len(self.nodes)}", {**self._environ, **environ}, host)
        self.rejoin(node, *options)
        self.nodes.append(node)
        return node

    def rejoin(self, node: Node, *options: str) -> None:
        """Add a node again that has been lost."""
        token = self.head.folder.token
        node.run("join", self.head.record.address, f"--token-file={token}", *options)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def parallel(self) -> int:
        """Answers that the fleet computes at once, as the ingress knows."""
        return int(self.client.get("/props").json()["total_slots"])

    def answering(self) -> Replica:
        """The replica that computes now."""
        before = {replica: replica.cpu_seconds() for replica in self.replicas()}
        while True:
            time.sleep(0.1)
            spent = {replica: replica.cpu_seconds() - since for replica, since in before.items()}
            busiest = max(spent, key=lambda replica: spent[replica])
            if spent[busiest] > 2 * (sum(spent.values()) - spent[busiest]) and spent[busiest] > 0.03:
                return busiest

    def replicas(self) -> list[Replica]:
        return [
            Replica(node, process)
            for node in self.nodes
            for process in node.processes()
            if _is_replica(process)
        ]

    def close(self) -> None:
        self.client.close()
        for node in (*self.nodes, self.head):
            node.kill()


@contextlib.contextmanager
def two_nodes(folder: Path, *options: str, parallel: int, **settings: object) -> Iterator[FleetOnCluster]:
    """A fleet of two nodes that compute, of which the first one listens; `options` are those of the head."""
    fleet = FleetOnCluster(folder, None, parallel=parallel, node_timeout=4, **settings)
    try:
        fleet.up(*options)
        fleet.join("--listen")
        fleet.join()
        until(lambda: fleet.is_ready() and fleet.parallel() == 2 * parallel)
        yield fleet
    finally:
        fleet.close()


@contextlib.contextmanager
def three_hosts(folder: Path, *options: str, **settings: object) -> Iterator[FleetOnCluster]:
    """A fleet on hosts of their own: a head that listens, and two nodes that compute; `options` are the head's.

    A cut is noticed after four seconds.
    """
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("hosts are network namespaces, which root makes with iproute2")
    network = HostNetwork()
    fleet = FleetOnCluster(folder, network, model="fake:10", parallel=2, node_timeout=4, **settings)
    try:
        fleet.up(*options)
        fleet.join()
        fleet.join()
        until(fleet.is_ready)
        yield fleet
    finally:
        fleet.close()
        network.close()


class Replica(NamedTuple):
    """A replica, which runs on a node."""

    node: Node
    process: psutil.Process

    def family(self) -> list[psutil.Process]:
        """Its process, and those of its models."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """What its models have taken; an idle one takes nothing."""
        total = 0.0
        for process in self.family()[1:]:
            with contextlib.suppress(psutil.Error):
                total += sum(process.cpu_times()[:2])
        return total

    def signal(self, number: signal.Signals) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)


def _is_replica(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[0].startswith(f"ray::ServeReplica:{FLEET}-")
    except (psutil.Error, IndexError):
        return False


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], bool], patience: float = START) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.3)


def pieces(fleet: FleetOnCluster, **body: Any) -> Generator[str, None, None]:
    """The texts of a streamed chat answer."""
    with fleet.client.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                assert "error" not in event, event
                yield from (choice["delta"].get("content") or "" for choice in event["choices"])


def interrupted(fleet: FleetOnCluster, loss: Callable[[Replica], object], **body: Any) -> str:
    """The text of an answer, with a loss after some of it; `loss` gets the replica that is answering."""
    text = ""
    for number, piece in enumerate(pieces(fleet, **body)):
        text += piece
        if number == 20:
            loss(fleet.answering())
    return text
