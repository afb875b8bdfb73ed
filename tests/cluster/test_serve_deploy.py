"""The fleet's configuration file on a cluster that edgeinfer has not made, by Ray's own commands."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
import pytest

from edgeinfer.cluster.keeper import STARTED
from tests.support.cluster import BRISK, STEADY, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.heavy, pytest.mark.timeout(900)]

BIN = Path(sys.prefix, "bin")
CHAT = {"messages": [{"role": "user", "content": "What is edgeinfer?"}], "max_tokens": 4}
TOKEN = "0123456789abcdef" * 4

PATIENCE = 300.0
"""Seconds: Ray's own head has a dozen processes more than ours."""


class ForeignCluster:
    """One node that `ray start` has made, with a dashboard and a token."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._api, self._port = free_port(), free_port()
        (folder / "config.toml").write_text(
            f'[models.{STEADY}]\nmodel = "fake:10"\n[models.{BRISK}]\nmodel = "fake:5"\n'
        )
        self._environ = {
            **os.environ,
            "EDGEINFER_CONFIG": str(folder / "config.toml"),
            "EDGEINFER_PORT": str(self._port),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_worker_niceness": "0",
            "RAY_raylet_start_wait_time_s": f"{PATIENCE:.0f}",
        }
        self._log = folder / "log"
        self._sockets = TemporaryDirectory(prefix="ray-")  # pytest's folder is too long a path for a socket
        command = [
            *(str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"),
            *(f"--port={free_port()}", f"--ray-client-server-port={free_port()}"),
            *("--node-ip-address=127.0.0.1", f"--temp-dir={self._sockets.name}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={self._api}"),
            *("--num-cpus=1", "--num-gpus=0", "--object-store-memory=78643200"),
            "--labels=edgeinfer-class=board,edgeinfer-ingress=yes",
        ]
        with self._log.open("wb") as log:
            self._ray = subprocess.Popen(command, env=self._environ, stdout=log, stderr=subprocess.STDOUT)

    def is_up(self) -> bool:
        log = self._log.read_bytes()
        assert self._ray.poll() is None, log.decode()
        return STARTED in log

    def deploy(self, model: str) -> None:
        """Write the configuration with `edgeinfer cluster config`, and hand it to `serve deploy`."""
        command = [sys.executable, "-m", "edgeinfer", "cluster", "config", "board", "--model", model]
        file = self.folder / "fleet.yaml"
        file.write_text(subprocess.check_output(command, text=True, env=self._environ))
        serve = [str(BIN / "serve"), "deploy", f"--address=http://127.0.0.1:{self._api}", str(file)]
        done = subprocess.run(serve, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def answering(self) -> str | None:
        """The model that answers; None while none does."""
        try:
            reply = httpx.post(f"http://127.0.0.1:{self._port}/v1/chat/completions", json=CHAT, timeout=60)
        except httpx.TransportError:
            return None
        return str(reply.json()["model"]) if reply.is_success else None

    def listens(self) -> set[int]:
        """The processes that listen for clients."""
        return {
            process.pid
            for process in psutil.Process(self._ray.pid).children(recursive=True)
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == self._port
        }

    def close(self) -> None:
        process = psutil.Process(self._ray.pid)
        every = [process, *process.children(recursive=True)]
        for one in every:
            one.kill()
        self._ray.wait(30)
        psutil.wait_procs(every, 30)
        self._sockets.cleanup()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ForeignCluster]:
    cluster = ForeignCluster(tmp_path)
    try:
        until(cluster.is_up, PATIENCE)
        yield cluster
    finally:
        cluster.close()


def test_serve_deploy_makes_a_fleet_of_any_cluster_and_gives_it_another_model(
    cluster: ForeignCluster,
) -> None:
    """The second time the ingress is told, and not replaced."""
    cluster.deploy(STEADY)
    until(lambda: cluster.answering() == STEADY, PATIENCE)
    before = cluster.listens()
    assert before
    cluster.deploy(BRISK)
    until(lambda: cluster.answering() == BRISK, PATIENCE)
    assert before == cluster.listens()
