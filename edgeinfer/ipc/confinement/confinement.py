"""Confines this process: what it processes is not trusted, and may take it over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import msgspec

from edgeinfer.ipc.confinement.file_access import Access
from edgeinfer.ipc.confinement.landlock import TCP_VERSION, landlock_version, restrict_files
from edgeinfer.ipc.confinement.namespaces import enter_loopback, leave_network
from edgeinfer.ipc.confinement.seccomp import LIBRARY, Rule, SystemCallFilter, refused, refused_to_programs
from edgeinfer.ipc.confinement.system_call import IS_LINUX, prctl

SET_DUMPABLE, DROP_CAPABILITY, SET_NO_NEW_PRIVILEGES = 4, 24, 38

KEPT_CAPABILITIES = (1, 2, 3, 14, 23)
"""Files of others: to read, to find, to own; memory that is not swapped, priorities."""

MAX_CAPABILITY = 64


class Confinement(msgspec.Struct, frozen=True):
    """The layers that hold for a process; the kernel and its settings decide which.

    Attributes:
        landlock: version of the kernel's Landlock, 0 if it does not hold.
        seccomp: a filter refuses system calls.
        namespaces: it has no network to reach.
        missing: layers that do not hold, each with the reason.
    """

    landlock: int = 0
    seccomp: bool = False
    namespaces: bool = False
    missing: tuple[str, ...] = ()

    @property
    def network(self) -> bool:
        """It cannot connect to anything."""
        return self.seccomp or self.namespaces or self.landlock >= TCP_VERSION

    def __str__(self) -> str:
        layers = [f"Landlock {self.landlock}"] if self.landlock else []
        layers += ["seccomp"] if self.seccomp else []
        layers += ["network namespace"] if self.namespaces else []
        return "; ".join([", ".join(layers) or "not confined", *(f"no {reason}" for reason in self.missing)])


def confine_process(files: Iterable[Access] = (), *, gpu: bool = False) -> Confinement:
    """Forbid this process all files but `files`, the network and other processes, as far as the kernel can.

    It must have a single thread: those that run already are not confined. Without `files` everything that will
    be needed has to be loaded.

    Args:
        gpu: its drivers may create unix sockets, and stay in the machine's namespaces.
    """
    files = list(files)
    enter = None if gpu else leave_network
    return _confine(refused(files=bool(files), unix_sockets=gpu), files, enter)


def confine_program(files: Iterable[Access]) -> Confinement:
    """Forbid this process, and the programs that it starts, all files but `files`, and all networks but a loopback of its own.

    Unlike `confine_process` it leaves them other programs, and sockets between one another. Where the kernel has no
    namespaces for this, networks stay open. It must have a single thread.

    Root keeps what it needs to read other users' files; what else it may do ends when it starts a program.
    """
    if IS_LINUX:
        _drop_capabilities()
    return _confine(refused_to_programs(), list(files), enter_loopback, tcp=True)


def _drop_capabilities() -> None:
    """Leave the programs that are started few capabilities, if this process is root and so has any."""
    with contextlib.suppress(OSError):  # no root, or no further number
        for number in range(MAX_CAPABILITY):
            if number not in KEPT_CAPABILITIES:
                prctl(DROP_CAPABILITY, number)


def _confine(
    rules: Iterable[Rule], files: list[Access], enter: Callable[[], None] | None, *, tcp: bool = False
) -> Confinement:
    """`enter` moves to other namespaces; with `tcp`, Landlock leaves ports alone."""
    if not IS_LINUX:
        return Confinement(missing=("only Linux has Landlock and seccomp",))
    missing: list[str] = []
    filters: list[SystemCallFilter] = []
    _try(lambda: filters.append(SystemCallFilter(rules)), "seccomp", missing)
    in_namespace = enter is not None and _try(enter, "network namespace", missing)
    _try(lambda: prctl(SET_NO_NEW_PRIVILEGES, 1), "no_new_privs", missing)
    version = landlock_version()
    if version == 0:
        missing.append("Landlock: this kernel does not have it, or has it disabled")
    elif not _try(lambda: _kept.extend(restrict_files(version, files, tcp=tcp)), "Landlock", missing):
        version = 0
    seccomp = bool(filters) and _try(filters[0].apply, "seccomp", missing)
    return Confinement(version, seccomp, in_namespace, tuple(missing))


_kept: list[int] = []
"""Descriptors that last as long as the process, see `restrict_files`."""


def hide_process() -> None:
    """Hide this process's memory and environment from others of its user, and so from its children."""
    if IS_LINUX:
        _try(lambda: prctl(SET_DUMPABLE, 0), "dumpable", [])


def _try(step: Callable[[], object], layer: str, missing: list[str]) -> bool:
    try:
        step()
    except OSError as e:
        reason = e.strerror or str(e)
        missing.append(f"{layer}: {f'{LIBRARY} is not installed' if LIBRARY in reason else reason}")
        return False
    return True
