"""Reports the daemon's state to the service manager by sd_notify(3), if there is one."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping

SEND_TIMEOUT = 5.0
"""Seconds to wait for a busy manager; its queue is short, and senders block while it is full."""

WATCHDOG = "WATCHDOG=1"
"""Comes again and again, so one that finds the queue full may be lost."""


def notify(state: str) -> bool:
    """Send `state` (such as "READY=1") to the service manager; False if it was not received at once.

    It never blocks. If the manager is busy, a thread tries again for SEND_TIMEOUT seconds.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":  # the abstract namespace
        address = "\0" + address[1:]
    try:
        _send(state, address, 0.0)
    except BlockingIOError:
        if state != WATCHDOG:
            threading.Thread(target=_send_patiently, args=(state, address), daemon=True).start()
        return False
    except OSError:  # a manager that is gone must not stop the daemon
        return False
    return True


def _send_patiently(state: str, address: str) -> None:
    with contextlib.suppress(OSError):
        _send(state, address, SEND_TIMEOUT)


def _send(state: str, address: str, timeout: float) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.settimeout(timeout)
        s.sendto(state.encode(), address)


def extend(seconds: float) -> bool:
    """Ask for more seconds, from now, before the manager takes a start or a stop for hung."""
    return notify(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}")


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds that the service manager waits for a WATCHDOG=1; None if it keeps no watch."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    usec = environ.get("WATCHDOG_USEC", "")
    return int(usec) / 1e6 if usec.isascii() and usec.isdigit() and int(usec) else None
