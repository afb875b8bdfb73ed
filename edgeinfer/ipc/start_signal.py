"""The first byte on a socket to a child process, with which it may inherit a file that it was started without."""

from __future__ import annotations

import os
import socket

START = b"\0"


def send_start(child: socket.socket, descriptor: int | None = None) -> None:
    """Tell a child process to begin; `descriptor` is of the file that it inherits. Raises OSError."""
    socket.send_fds(child, [START], [] if descriptor is None else [descriptor])


def receive_start(parent: socket.socket) -> int | None:
    """Wait for the start, and return the descriptor of the inherited file, if any. Raises OSError."""
    data, descriptors, _, _ = socket.recv_fds(parent, len(START), 1)
    if data != START:
        raise ConnectionError("the parent is gone")
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return descriptors[0] if descriptors else None
