"""A cluster of real Ray nodes on this machine, made by the commands that users have."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from edgeinfer.cluster.deployment import FLEET
from edgeinfer.cluster.node import NodeFolder, NodeRecord

START = 180.0
"""Seconds that a fleet may take to answer on a busy machine."""


class Node:
    """A node of its own state folder. The machine may have several."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._environ = {**environ, "XDG_STATE_HOME": str(folder)}
        self.folder = NodeFolder(folder / "edgeinfer" / "cluster")

    def run(self, *arguments: str) -> str:
        """Run `edgeinfer cluster ARGUMENTS`; -> its standard output."""
        command = [sys.executable, "-m", "edgeinfer", "cluster", *arguments]
        done = subprocess.run(command, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def record(self) -> NodeRecord:
        record = self.folder.record()
        assert record
        return record


class FleetOnCluster:
    """A head that listens for clients, and nodes beside it; all have the bundled model.

    Attributes:
        url: of the ingress.
        head: which has a replica too.
        nodes: the others.
    """

    def __init__(self, folder: Path, **settings: object) -> None:
        port, self._head_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._environ = {
            **os.environ,
            "EDGEINFER_CONFIG": os.devnull,
            "EDGEINFER_PORT": str(port),
            "XDG_CONFIG_HOME": str(folder),
            **{f"EDGEINFER_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self.head = self._new_node()
        self.nodes: list[Node] = []

    def up(self, *options: str) -> None:
        self.head.run("up", f"--port={self._head_port}", *options)

    def join(self, *options: str) -> Node:
        node = self._new_node()
        self.nodes.append(node)
        token = self.head.folder.token
        node.run("join", self.head.record.address, f"--token-file={token}", *options)
        return node

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.head.run("status", "--json"))
        return status

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready").status_code == 200
        except httpx.TransportError:
            return False

    def parallel(self) -> int:
        """Answers that the fleet computes at once, as the ingress knows."""
        model = httpx.get(f"{self.url}/status").json()["model"]
        return int(model["parallel"])

    def close(self) -> None:
        for node in (*self.nodes, self.head):
            if node.folder.record():
                node.run("down")

    def _new_node(self) -> Node:
        return Node(self._folder / f"node-{len(list(self._folder.iterdir()))}", self._environ)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + START
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.3)


def replicas() -> list[psutil.Process]:
    """The processes of replicas that run on this machine."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::ServeReplica:{FLEET}-"):
                found.append(process)
    return found


def pieces(url: str, **body: Any) -> Iterator[str]:
    """The texts of a streamed chat answer."""
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json={**body, "stream": True}, timeout=START
    ) as response:
        assert response.status_code == 200, response.read()
        for line in response.iter_lines():
            if line.startswith("data: {"):
                event = json.loads(line.removeprefix("data: "))
                assert "error" not in event, event
                yield from (choice["delta"].get("content") or "" for choice in event["choices"])
