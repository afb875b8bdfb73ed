"""sd_notify(3): tell systemd how the daemon is. A no-op where systemd did not ask."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send `state` (such as "READY=1") to the service manager; False if there is none to take it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":  # the abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        try:
            s.sendto(state.encode(), address)
        except OSError:  # the manager is gone, which is no reason to fail
            return False
    return True
