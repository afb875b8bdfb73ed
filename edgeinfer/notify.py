"""sd_notify(3): tell the service manager how the daemon is. A no-op where none asked."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

PATIENCE = 5.0
"""Seconds for a manager that is busy; its queue holds but a few messages, and a full one makes senders wait."""


def notify(state: str) -> bool:
    """Send `state` (such as "READY=1") to the service manager; False if there is none to take it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.settimeout(PATIENCE)
        try:
            s.sendto(state.encode(), address)
        except OSError:  # the manager is gone or hangs, which is no reason to fail
            return False
    return True


def extend(seconds: float) -> bool:
    """Ask for so many seconds from now before a start or a stop is taken for one that hangs."""
    return notify(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """How long the service manager waits for a WATCHDOG=1 before it kills; None where it keeps no watch."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isascii() and usec.isdigit() and int(usec) else None
