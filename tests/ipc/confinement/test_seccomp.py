"""The filter of system calls as the kernel would run it, for the architecture of this machine.

An emulated processor has no seccomp, but its libseccomp writes the filter that a real one gets.
"""

from __future__ import annotations

import ctypes
import errno
import operator
import os
import platform
import signal
import socket
import struct
import tempfile
import termios
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from edgeinfer.ipc.confinement.seccomp import (
    AF_UNIX,
    ALLOW,
    ERRNO,
    FILES,
    FORBIDDEN,
    NETWORK,
    TIOCSTI,
    Rule,
    SystemCallFilter,
    refused,
)
from edgeinfer.ipc.confinement.system_call import IS_LINUX


class Architecture(NamedTuple):
    """The kernel's name of it, and its own numbers of some system calls."""

    audit: int
    numbers: dict[str, int]


ARCHITECTURES = {
    "x86_64": Architecture(
        0xC000003E,
        {
            "clone": 56, "clone3": 435, "connect": 42, "execve": 59, "futex": 202, "ioctl": 16, "kill": 62, "mmap": 9,
            "openat": 257, "ptrace": 101, "read": 0, "socket": 41, "tgkill": 234, "unshare": 272,
        },
    ),
    "aarch64": Architecture(
        0xC00000B7,
        {
            "clone": 220, "clone3": 435, "connect": 203, "execve": 221, "futex": 98, "ioctl": 29, "kill": 129,
            "mmap": 222, "openat": 56, "ptrace": 117, "read": 63, "socket": 198, "tgkill": 131, "unshare": 97,
        },
    ),
}  # fmt: skip
MACHINE = platform.machine()

pytestmark = pytest.mark.skipif(
    not IS_LINUX or MACHINE not in ARCHITECTURES,
    reason="only Linux has seccomp, and numbers are known for two",
)

LOAD, AND, JUMP, RETURN = 0x20, 0x54, 0x05, 0x06
CONDITIONS: dict[int, Callable[[int, int], int]] = {
    0x15: operator.eq,
    0x25: operator.gt,
    0x35: operator.ge,
    0x45: operator.and_,
}
"""Instructions of the Berkeley Packet Filter, in which the kernel takes a filter."""

KILL_THREAD, KILL_PROCESS = 0, 0x80000000

THREAD_FLAGS = 0x3D0F00
"""With which the C library starts a thread."""


class Filter:
    """A filter that the kernel would run for each system call."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        made = SystemCallFilter(rules)
        with tempfile.TemporaryFile() as file:
            library = made._library
            library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
            assert 0 == library.seccomp_export_bpf(made._context, file.fileno())
            file.seek(0)
            self._program = list(struct.iter_unpack("=HBBI", file.read()))
        library.seccomp_release(made._context)
        self._resolve = library.seccomp_syscall_resolve_name

    def resolve(self, call: str) -> int:
        """Return the number of a system call as libseccomp knows it; negative if this architecture has not got it."""
        return int(self._resolve(call.encode()))

    def answer(self, call: str, *args: int) -> int | None:
        """Return the error that a system call gets, None if it is allowed."""
        audit, numbers = ARCHITECTURES[MACHINE]
        number = numbers[call] if call in numbers else self._resolve(call.encode())
        returned = self.run(number, audit, *args)
        if returned == ALLOW:
            return None
        assert ERRNO == returned & 0xFFFF0000
        return returned & 0xFFFF

    def run(self, number: int, audit: int, *args: int) -> int:
        """Run it for a system call as the kernel does, with those instructions that libseccomp uses."""
        data = struct.pack("=iIQ6Q", number, audit, 0, *args, *[0] * (6 - len(args)))
        at = accumulator = 0
        while True:
            code, if_true, if_false, value = self._program[at]
            at += 1
            if code == RETURN:
                return int(value)
            if code == LOAD:
                (accumulator,) = struct.unpack_from("=I", data, value)
            elif code == AND:
                accumulator &= value
            elif code == JUMP:
                at += value
            else:
                at += if_true if CONDITIONS[code](accumulator, value) else if_false


@pytest.fixture(scope="module")
def worker() -> Filter:
    return Filter(refused(files=True, unix_sockets=False))


@pytest.fixture(scope="module")
def helper() -> Filter:
    return Filter(refused(files=False, unix_sockets=False))


@pytest.fixture(scope="module")
def gpu_worker() -> Filter:
    return Filter(refused(files=True, unix_sockets=True))


@pytest.mark.parametrize("call", ARCHITECTURES["x86_64"].numbers)
def test_libseccomp_knows_the_kernels_numbers(worker: Filter, call: str) -> None:
    """Otherwise the filter would refuse something else."""
    assert ARCHITECTURES[MACHINE].numbers[call] == worker.resolve(call)


@pytest.mark.parametrize("call", FORBIDDEN)
def test_what_is_forbidden_is_refused(worker: Filter, helper: Filter, gpu_worker: Filter, call: str) -> None:
    """Whatever the arguments, to all three kinds of process. Some calls exist only elsewhere."""
    if worker.resolve(call) < 0:
        pytest.skip(f"{MACHINE} has no {call}")
    for process in (worker, helper, gpu_worker):
        assert {errno.EPERM} == {process.answer(call), process.answer(call, *[2**64 - 1] * 6)}


@pytest.mark.parametrize("call", NETWORK)
def test_the_network_is_refused(worker: Filter, helper: Filter, call: str) -> None:
    if worker.resolve(call) < 0:
        pytest.skip(f"{MACHINE} has no {call}")
    assert [errno.EACCES] * 2 == [process.answer(call, AF_UNIX) for process in (worker, helper)]


def test_drivers_of_a_gpu_make_unix_sockets_and_connect_none(gpu_worker: Filter) -> None:
    assert gpu_worker.answer("socket", AF_UNIX) is None
    assert errno.EACCES == gpu_worker.answer("socket", socket.AF_INET)
    assert errno.EACCES == gpu_worker.answer("connect", 3)


@pytest.mark.parametrize("call", FILES)
def test_files_are_refused_to_what_needs_none(worker: Filter, helper: Filter, call: str) -> None:
    """A worker opens some, which Landlock chooses."""
    if worker.resolve(call) < 0:
        pytest.skip(f"{MACHINE} has no {call}")
    assert (None, errno.EACCES) == (worker.answer(call), helper.answer(call))


def test_a_thread_may_start_and_a_process_not(worker: Filter) -> None:
    """The newer call keeps its flags where no filter sees them, so the C library is sent to the older one."""
    assert worker.answer("clone", THREAD_FLAGS) is None
    assert errno.EPERM == worker.answer("clone", signal.SIGCHLD)
    assert errno.EPERM == worker.answer("clone", signal.SIGCHLD | 2**63)
    assert errno.ENOSYS == worker.answer("clone3")


@pytest.mark.parametrize("call", ["kill", "tgkill"])
def test_a_process_signals_itself_alone(worker: Filter, call: str) -> None:
    """Minus one would be everybody."""
    assert worker.answer(call, os.getpid()) is None
    assert {errno.EPERM} == {worker.answer(call, pid) for pid in (os.getppid(), 1, 0, 2**64 - 1)}


def test_no_text_is_typed_on_a_terminal(worker: Filter) -> None:
    """The kernel looks at the lower half of the request, whatever is in the other."""
    assert {errno.EPERM} == {worker.answer("ioctl", 2, request) for request in (TIOCSTI, TIOCSTI | 1 << 32)}
    assert worker.answer("ioctl", 2, termios.TCGETS) is None


@pytest.mark.parametrize("call", ["read", "mmap", "futex"])
def test_what_computing_takes_is_allowed(worker: Filter, helper: Filter, call: str) -> None:
    assert [None, None] == [process.answer(call) for process in (worker, helper)]


@pytest.mark.parametrize("audit", [0x40000003, 0x40000028, 0xDEADBEEF])
def test_calls_of_another_architecture_end_the_process(worker: Filter, audit: int) -> None:
    """A process may make those of 32 bits, whose numbers are others: of x86, of ARM, and of neither."""
    assert worker.run(1, audit) in {KILL_THREAD, KILL_PROCESS}
