"""This machine's node of a cluster: the folder with its secrets and its state, and the process that runs Ray."""

from __future__ import annotations

import contextlib
import hashlib
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

from edgeinfer.cluster.keeper import STARTED
from edgeinfer.cluster.labels import CLASS, INGRESS, NODE, YES
from edgeinfer.errors import ServiceFailed, SettingsError
from edgeinfer.store.location import SYSTEM_STORE
from edgeinfer.user_folders import state_folder

PORT = 6380
"""TCP port of the head; Ray's own is that of Redis."""

OBJECT_STORE = 78643200
"""Bytes of Ray's object store, the least that it takes: only small messages go through it."""

SYSTEM = SYSTEM_STORE / "cluster"
"""The folder of a node that is a system service."""

REDIS_PASSWORD_FILE = "RAY_REDIS_PASSWORD_FILE"
"""Variable of the head's processes: the file that `ray_start` reads the password from."""

MIN_TOKEN = 32
"""Characters that a cluster's token must have."""

START_TIMEOUT = 120.0
STOP_TIMEOUT = 90.0
"""Seconds: longer than a replica may take to end its answers."""


class NodeRecord(msgspec.Struct, frozen=True):
    """The node that runs on this machine.

    Attributes:
        pid: the process that keeps it running.
        address: of the head, with its port.
        ip: this machine's address in the cluster.
        name: its own, by which the head tells it from others.
        tls: the folder of its certificate, see `tls_files`; None if nodes speak in the clear.
        sockets: the folder of Ray's sockets and log; None is Ray's own, below /tmp.
        redis: the address of the Redis that has the head's state; None is the head's disk.
    """

    pid: int
    name: str
    address: str
    ip: str
    hardware_class: str
    head: bool
    tls: str | None = None
    sockets: str | None = None
    redis: str | None = None


class NodeFolder:
    """Where a node keeps its token, its record, its log, and, on the head, the state of the cluster."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def default(cls, environ: Mapping[str, str] = os.environ) -> NodeFolder:
        """The service's folder, or else the user's; root, if it has none, finds the service's."""
        service = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        own = (Path(service) if service else state_folder(environ)) / "cluster"
        if os.geteuid() == 0 and not service and not own.exists() and (SYSTEM / "node.json").exists():
            return cls(SYSTEM)
        return cls(own)

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

    @property
    def redis_password(self) -> Path:
        """The password of the Redis that has the head's state; there is none if that asks for none."""
        return self.root / "redis-password"

    def save_redis_password(self, password: str) -> None:
        """Keep it for the head's next start, too; "" forgets it."""
        self.create()
        if password:
            _write_private(self.redis_password, password)
        else:
            self.redis_password.unlink(missing_ok=True)

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

    def cluster_id(self) -> str:
        """What stands for the cluster where the token must not be seen."""
        return hashlib.sha256(self.token.read_bytes()).hexdigest()[:16]

    def record(self) -> NodeRecord | None:
        """The node that runs; None if none does."""
        try:
            record = msgspec.json.decode((self.root / "node.json").read_bytes(), type=NodeRecord)
        except (OSError, msgspec.DecodeError):
            return None
        return record if _runs(record.pid) else None

    def save(self, record: NodeRecord) -> None:
        _write_private(self.root / "node.json", msgspec.json.encode(record).decode())
        _write_private(self.root / "node.pid", f"{record.pid}\n")  # for systemd

    def forget(self) -> None:
        for name in ("node.json", "node.pid"):
            (self.root / name).unlink(missing_ok=True)


def node_name() -> str:
    """A name for a node that starts."""
    return secrets.token_hex(8)


def sockets_folder(environ: Mapping[str, str] = os.environ) -> str | None:
    """Where Ray's sockets are to be: a service's runtime directory; None is Ray's own choice."""
    return environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or None


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


def tls_files(folder: Path) -> dict[str, Path]:
    """The files with which nodes prove what they are to each other, by the variables of Ray.

    Raises:
        SettingsError: one of them is missing.
    """
    files = {
        "RAY_TLS_CA_CERT": folder / "ca.crt",
        "RAY_TLS_SERVER_CERT": folder / "node.crt",
        "RAY_TLS_SERVER_KEY": folder / "node.key",
    }
    if missing := [path for path in files.values() if not path.is_file()]:
        raise SettingsError(
            f"no such file: {missing[0]}",
            param="tls",
            hint="the folder has ca.crt, and the node's own certificate of that authority: node.crt and node.key",
        )
    return files


def environment(
    folder: NodeFolder, record: NodeRecord, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The variables of a node's processes."""
    mine = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder.token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or replicas, which reserve no card, would see none
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_worker_niceness": "0",  # or every other program on the machine would slow down answers
        "RAY_enable_metrics_collection": "0",  # its port would be open to everybody, and the ingress has metrics
    }
    if record.tls:
        files = tls_files(Path(record.tls))
        mine |= {"RAY_USE_TLS": "1", **{name: str(path) for name, path in files.items()}}
    if record.head and record.redis:
        mine["RAY_REDIS_ADDRESS"] = record.redis
        mine["RAY_external_storage_namespace"] = folder.cluster_id()  # another cluster may use the same Redis
        if folder.redis_password.exists():
            mine[REDIS_PASSWORD_FILE] = str(folder.redis_password)
    elif record.head and not environ.get("RAY_REDIS_ADDRESS"):
        mine |= {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(folder.storage)}
    return {**environ, **mine}


def labels(record: NodeRecord, *, listen: bool) -> dict[str, str]:
    """The labels of a node; without a hardware class it computes nothing."""
    classes = {CLASS: record.hardware_class} if record.hardware_class else {}
    return {NODE: record.name, **classes, **({INGRESS: YES} if listen else {})}


def command(record: NodeRecord, labels: Mapping[str, str]) -> list[str]:
    """The command that runs a node in the foreground."""
    port = record.address.rpartition(":")[2]
    head = ["--head", f"--port={port}", "--include-dashboard=false", "--no-monitor"]
    return [
        sys.executable,
        *("-m", "edgeinfer.cluster.ray_start", "--block"),
        *(head if record.head else [f"--address={record.address}"]),
        f"--node-ip-address={record.ip}",
        f"--object-store-memory={OBJECT_STORE}",
        *("--num-cpus=0", "--num-gpus=0", "--disable-usage-stats", "--include-log-monitor=false"),
        "--dashboard-agent-listen-port=0",
        *([f"--temp-dir={record.sockets}"] if record.sockets else []),
        f"--labels={','.join(f'{name}={value}' for name, value in labels.items())}",
    ]


def start(folder: NodeFolder, record: NodeRecord, *, listen: bool) -> NodeRecord:
    """Start the node in the background; -> the record with its pid. `listen`: clients may connect to it.

    Raises:
        ServiceFailed: it ended at once; the message has its last words.
    """
    folder.create()
    if record.head:
        folder.storage.mkdir(exist_ok=True, mode=0o700)
    folder.log.write_bytes(b"")
    keeper = [sys.executable, "-m", "edgeinfer.cluster.keeper", str(folder.log)]
    process = subprocess.Popen(
        [*keeper, *command(record, labels(record, listen=listen))],
        env=environment(folder, record),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = time.monotonic() + START_TIMEOUT
    while STARTED not in folder.log.read_bytes():
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
    with contextlib.suppress(ProcessLookupError):
        os.kill(record.pid, signal.SIGTERM)
    end = time.monotonic() + STOP_TIMEOUT
    while _runs(record.pid) and time.monotonic() < end:
        time.sleep(0.1)
    folder.forget()


def _runs(pid: int) -> bool:
    """Whether there is a process. A service that stops does not see its own ones in /proc."""
    try:
        os.kill(pid, 0)
    except OSError as e:
        return isinstance(e, PermissionError)
    return True


def _write_private(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    new.replace(path)


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else "it said nothing"
