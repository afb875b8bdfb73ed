"""The address that the daemon is to listen on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from edgeinfer.doctor.daemon import Answer
from edgeinfer.doctor.finding import Finding
from edgeinfer.settings import Settings

CHECK = "port"


def port(settings: Settings, answer: Answer) -> list[Finding]:
    """`answer`: who answers there."""
    where = settings.uds or f"{settings.host}:{settings.port}"
    if answer.who == "edgeinfer":
        return [Finding(CHECK, "ok", f"edgeinfer listens on {where}")]
    if answer.who == "manager":
        return [Finding(CHECK, "ok", f"the service manager listens on {where}")]
    if answer.who == "unknown":
        return []  # the daemon's check has said why
    if answer.who == "stranger":
        return [_taken(settings, where)]
    if settings.uds:
        return _socket_file(Path(settings.uds))
    if settings.port == 0:
        text = "port is 0, so it is another one at each start"
        return [Finding(CHECK, "note", text, "set port, so that clients know where to ask")]
    return _bindable(settings, where)


def _taken(settings: Settings, where: str) -> Finding:
    holder = None if settings.uds else listener(settings.port)
    text = f"{where} is taken by {holder or 'another program'}"
    who = "" if holder or settings.uds else f" (who: sudo ss -ltnp sport = :{settings.port})"
    return Finding(
        CHECK, "error", text, f"stop that{who}, or set {'uds' if settings.uds else 'port'} to another"
    )


def listener(port: int) -> str | None:
    """Name and pid of who listens on a TCP port; None where that is not ours to know."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for found in psutil.net_connections("tcp"):
            if found.status == psutil.CONN_LISTEN and found.pid and found.laddr and found.laddr[1] == port:
                return f"{psutil.Process(found.pid).name()} (pid {found.pid})"
    return None


def _bindable(settings: Settings, where: str) -> list[Finding]:
    """Whether it can be listened on, by having it for an instant."""
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as e:
        return [Finding(CHECK, "error", f"host {settings.host!r}: {e.strerror}", "set host to 127.0.0.1")]
    bound = 0
    for family, _, _, _, address in found:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
            except OSError as e:
                # localhost is ::1 as well, which a machine without IPv6 does not have.
                if e.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET6:
                    continue
                return [_refused(settings, where, e)]
        bound += 1
    if bound:
        return [Finding(CHECK, "ok", f"{where} is free")]
    return [_refused(settings, where, OSError(errno.EADDRNOTAVAIL, "no such address here"))]


def _refused(settings: Settings, where: str, error: OSError) -> Finding:
    if error.errno == errno.EADDRINUSE:
        return _taken(settings, where)
    if error.errno == errno.EADDRNOTAVAIL:
        text = f"{settings.host} is no address of this machine"
        return Finding(CHECK, "error", text, "set host to one of: ip -brief address")
    if error.errno == errno.EACCES:
        text = f"{where} can be listened on by root alone"
        return Finding(CHECK, "error", text, "set port to 1024 or above")
    return Finding(
        CHECK, "error", f"{where} cannot be listened on: {error.strerror}", "set host and port to others"
    )


def _socket_file(path: Path) -> list[Finding]:
    """Of a unix socket that nobody answers at."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return [Finding(CHECK, "error", f"{path} is no socket", "set uds to another path")]
    folder = path.parent
    if not folder.is_dir():
        return [Finding(CHECK, "error", f"there is no folder {folder} for the socket", f"mkdir -p {folder}")]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [
            Finding(
                CHECK, "error", f"no socket can be made in {folder} by this user", "set uds to another path"
            )
        ]
    return [Finding(CHECK, "ok", f"{path} is free")]
