"""Reports the daemon's state to the service manager by sd_notify(3), if there is one."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

SEND_TIMEOUT = 5.0
"""Seconds to wait for a busy manager; its queue is short, and senders block while it is full."""


def notify(state: str) -> bool:
    """Send `state` (such as "READY=1") to the service manager; False if it was not received."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.settimeout(SEND_TIMEOUT)
        try:
            s.sendto(state.encode(), address)
        except OSError:  # a manager that is gone or hangs must not stop the daemon
            return False
    return True


def extend(seconds: float) -> bool:
    """Ask for more seconds, from now, before the manager takes a start or a stop for hung."""
    return notify(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds that the service manager waits for a WATCHDOG=1; None if it keeps no watch."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isascii() and usec.isdigit() and int(usec) else None
