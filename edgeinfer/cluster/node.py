"""This machine's node of a cluster: the folder with its secrets and its state, and the process that runs Ray."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psutil

from edgeinfer.errors import ServiceFailed, SettingsError
from edgeinfer.user_folders import state_folder

PORT = 6380
"""TCP port of the head; Ray's own is that of Redis."""

OBJECT_STORE = 78643200
"""Bytes of Ray's object store, the least that it takes: only small messages go through it."""

MIN_TOKEN = 32
"""Characters that a cluster's token must have."""

START_TIMEOUT = 120.0
STOP_TIMEOUT = 90.0
"""Seconds: longer than a replica may take to end its answers."""


class NodeRecord(msgspec.Struct, frozen=True):
    """The node that runs on this machine.

    Attributes:
        pid: the process that runs it.
        address: of the head, with its port.
        ip: this machine's address in the cluster.
    """

    pid: int
    address: str
    ip: str
    hardware_class: str
    head: bool


class NodeFolder:
    """Where a node keeps its token, its record, its log, and, on the head, the state of the cluster."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def default(cls, environ: Mapping[str, str] = os.environ) -> NodeFolder:
        """The service's directory, or else the user's."""
        service = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        return cls((Path(service) if service else state_folder(environ)) / "cluster")

    @property
    def token(self) -> Path:
        return self.root / "token"

    @property
    def log(self) -> Path:
        return self.root / "node.log"

    @property
    def storage(self) -> Path:
        """The head's state, with which it starts again."""
        return self.root / "head"

    def create(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def make_token(self) -> None:
        """Create a token unless there is one."""
        self.create()
        if not self.token.exists():
            self.save_token(secrets.token_hex(32))

    def save_token(self, token: str) -> None:
        """Keep the token of a cluster. Raises SettingsError: it cannot be one."""
        if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
            raise SettingsError(
                f"the token must have at least {MIN_TOKEN} printable characters and no spaces",
                param="token",
                hint=f"copy it from {self.token} on the head",
            )
        self.create()
        _write_private(self.token, token)

    def record(self) -> NodeRecord | None:
        """The node that runs; None if none does."""
        try:
            record = msgspec.json.decode((self.root / "node.json").read_bytes(), type=NodeRecord)
        except (OSError, msgspec.DecodeError):
            return None
        return record if psutil.pid_exists(record.pid) else None

    def save(self, record: NodeRecord) -> None:
        _write_private(self.root / "node.json", msgspec.json.encode(record).decode())

    def forget(self) -> None:
        (self.root / "node.json").unlink(missing_ok=True)


def own_address(head: str) -> str:
    """This machine's address in the network through which it reaches the head."""
    host, _, port = head.rpartition(":")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, int(port)))
            return str(sock.getsockname()[0])
    except (OSError, ValueError) as e:
        raise SettingsError(
            f"{head!r} is not an address with a port: {e}", hint="such as 192.0.2.10:6380"
        ) from e


def environment(folder: NodeFolder, *, head: bool, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a node's processes."""
    mine = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder.token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or replicas, which reserve no card, would see none
        "RAY_DISABLE_IMPORT_WARNING": "1",
    }
    if head:
        mine |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder.storage)}
    return {**environ, **mine}


def command(
    *, ip: str, address: str, labels: Mapping[str, str], head: bool, more: tuple[str, ...] = ()
) -> list[str]:
    """The command that runs a node in the foreground."""
    port = address.rpartition(":")[2]
    role = ["--head", f"--port={port}", "--include-dashboard=false"] if head else [f"--address={address}"]
    return [
        sys.executable,
        *("-m", "edgeinfer.cluster.ray_start", "--block"),
        *role,
        f"--node-ip-address={ip}",
        f"--object-store-memory={OBJECT_STORE}",
        *("--num-cpus=0", "--num-gpus=0", "--disable-usage-stats", "--include-log-monitor=false"),
        "--dashboard-agent-listen-port=0",
        f"--labels={','.join(f'{name}={value}' for name, value in labels.items())}",
        *more,
    ]


def start(folder: NodeFolder, record: NodeRecord, labels: Mapping[str, str]) -> NodeRecord:
    """Start the node in the background; `record` says which, its pid aside. -> the record, which is kept.

    Raises:
        ServiceFailed: it ended at once; the message has its last words.
    """
    folder.create()
    if record.head:
        folder.storage.mkdir(exist_ok=True, mode=0o700)
    with folder.log.open("wb") as log:
        process = subprocess.Popen(
            command(ip=record.ip, address=record.address, labels=labels, head=record.head),
            env=environment(folder, head=record.head),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    end = time.monotonic() + START_TIMEOUT
    while b"Ray runtime started" not in folder.log.read_bytes():
        if process.poll() is not None or time.monotonic() > end:
            process.terminate()
            raise ServiceFailed(
                f"the node did not start: {_last_words(folder.log)}", hint=f"the whole log: {folder.log}"
            )
        time.sleep(0.2)
    started = msgspec.structs.replace(record, pid=process.pid)
    folder.save(started)
    return started


def stop(folder: NodeFolder, record: NodeRecord) -> None:
    """End the node, and everything that runs on it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(record.pid)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
    folder.forget()


def _write_private(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.replace(path)


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"
