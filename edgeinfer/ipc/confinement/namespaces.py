"""Moves this process to namespaces of its own, where there is no network."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from edgeinfer.ipc.confinement.system_call import mount, unshare

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_NET = 0x00020000, 0x08000000, 0x10000000, 0x40000000

SET_INTERFACE_FLAGS, INTERFACE_UP = 0x8914, 1

READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 1 << 5, 1 << 12, 1 << 14, 1 << 18

LOCKED = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8}
"""What a mount may have that only the owner of the machine can take away, and so has to be repeated."""


def leave_network() -> None:
    """Leave the network, and the shared memory of others.

    Root stays root, as it has to read models of other users. Any other user needs a user namespace for this.

    Raises:
        OSError: the kernel does not allow it, as in most containers and services.
    """
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        unshare(NEW_NET | NEW_IPC)
        return
    unshare(NEW_USER | NEW_NET | NEW_IPC)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def enter_loopback() -> None:
    """Leave the network as `leave_network` does, for one that has a loopback, and nobody else in it.

    Raises:
        OSError: the kernel does not allow it.
    """
    leave_network()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SET_INTERFACE_FLAGS, struct.pack("16sH14x", b"lo", INTERFACE_UP))


def protect_paths(paths: Iterable[str]) -> None:
    """Make folders and files read-only for this process and those that it starts; call `leave_network` first.

    Raises:
        OSError: the kernel does not allow it, as for `leave_network`, or there is no such path.
    """
    unshare(NEW_MOUNTS)
    mount("none", "/", RECURSIVE | PRIVATE)
    for path in paths:
        _protect(path)


def _protect(path: str) -> None:
    mount(path, path, BIND)
    held = os.statvfs(path).f_flag
    locked = sum(flag for status, flag in LOCKED.items() if held & status)
    mount("none", path, BIND | REMOUNT | READ_ONLY | locked)
