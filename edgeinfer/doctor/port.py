"""The address that the daemon listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from edgeinfer.doctor.daemon import DaemonProbe
from edgeinfer.doctor.finding import Finding
from edgeinfer.errors import CannotListen
from edgeinfer.server.http.sockets import LOOPBACK, bind_ollama
from edgeinfer.settings import Settings

CHECK = "port"


def check_port(settings: Settings, probe: DaemonProbe) -> list[Finding]:
    """Check that the address is the daemon's, or free, and so is Ollama's port if that is set."""
    return [*_check_address(settings, probe), *_check_ollama_port(settings, probe)]


def _check_ollama_port(settings: Settings, probe: DaemonProbe) -> list[Finding]:
    if not settings.ollama_port or probe.listener in ("edgeinfer", "unknown"):
        return []  # a daemon that runs has it, or would not have started
    try:
        for sock in bind_ollama(settings):
            sock.close()
    except CannotListen as e:
        holder = listener(settings.ollama_port)
        text = f"{e.message} ({holder})" if holder else e.message
        return [Finding(CHECK, "error", text, e.hint or "change ollama_port")]
    return [Finding(CHECK, "ok", f"{LOOPBACK}:{settings.ollama_port} is free")]


def _check_address(settings: Settings, probe: DaemonProbe) -> list[Finding]:
    address = settings.uds or f"{settings.host}:{settings.port}"
    if probe.listener == "edgeinfer":
        return [Finding(CHECK, "ok", f"edgeinfer is listening on {address}")]
    if probe.listener == "manager":
        return [Finding(CHECK, "ok", f"the service manager is listening on {address}")]
    if probe.listener == "unknown":
        return []  # the check of the daemon says why
    if probe.listener == "other":
        return [_taken(settings, address)]
    if settings.uds:
        return _socket_file(Path(settings.uds))
    if settings.port == 0:
        text = "port is 0, so the daemon uses another port at each start"
        return [Finding(CHECK, "note", text, "set port, so that clients know the address")]
    return _check_free(settings, address)


def _taken(settings: Settings, address: str) -> Finding:
    holder = None if settings.uds else listener(settings.port)
    text = f"{address} is used by {holder or 'another program'}"
    command = "" if holder or settings.uds else f" (to find it: sudo ss -ltnp sport = :{settings.port})"
    return Finding(CHECK, "error", text, f"stop it{command}, or change {'uds' if settings.uds else 'port'}")


def listener(port: int) -> str | None:
    """Return name and pid of the process that listens on a TCP port; None if this user cannot see it."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.pid:
                continue
            if connection.laddr and connection.laddr[1] == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


def _check_free(settings: Settings, address: str) -> list[Finding]:
    """Check that the address can be bound, by binding it for an instant."""
    try:
        addresses = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as e:
        return [Finding(CHECK, "error", f"host {settings.host!r}: {e.strerror}", "set host to 127.0.0.1")]
    bound = 0
    for family, _, _, _, sockaddr in addresses:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(sockaddr)
            except OSError as e:
                # localhost is also ::1, which a machine without IPv6 does not have.
                if e.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6:
                    continue
                return [_refused(settings, address, e)]
        bound += 1
    if bound:
        return [Finding(CHECK, "ok", f"{address} is free")]
    return [_refused(settings, address, OSError(errno.EADDRNOTAVAIL, "this machine has no such address"))]


def _refused(settings: Settings, address: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return _taken(settings, address)
    if error.errno == errno.EADDRNOTAVAIL:
        text = f"{settings.host} is not an address of this machine"
        return Finding(CHECK, "error", text, "set host to an address that this lists: ip -brief address")
    if error.errno == errno.EACCES:
        text = f"only root can listen on {address}"
        return Finding(CHECK, "error", text, "set port to 1024 or above")
    return Finding(CHECK, "error", f"cannot listen on {address}: {error.strerror}", "change host and port")


def _socket_file(path: Path) -> list[Finding]:
    """Check the path of a unix socket on which no program listens."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return [Finding(CHECK, "error", f"{path} is not a socket", "set uds to another path")]
    folder = path.parent
    if not folder.is_dir():
        return [
            Finding(
                CHECK, "error", f"the folder {folder} for the socket does not exist", f"mkdir -p {folder}"
            )
        ]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [
            Finding(
                CHECK, "error", f"this user cannot create a socket in {folder}", "set uds to another path"
            )
        ]
    return [Finding(CHECK, "ok", f"{path} is free")]
