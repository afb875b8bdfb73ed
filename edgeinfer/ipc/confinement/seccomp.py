"""Refuses system calls by a filter that libseccomp, the library of systemd and container engines, writes.

Its knowledge of every architecture's numbers is what would be hard to keep well here. The bindings for Python that
can be installed with pip have not been changed since 2021, and are no more than what follows.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LIBRARY = "libseccomp.so.2"

ALLOW = 0x7FFF0000
ERRNO = 0x00050000

NOT_EQUAL, EQUAL, GREATER, MASKED_EQUAL = 1, 4, 6, 7
"""Comparisons of an argument."""

UNKNOWN = -1
"""Number of a system call that this version of the library has not heard of."""

AF_UNIX = 1
AF_NETLINK = 16
"""Lists a machine's addresses. Families after it are for packets, radios, virtual machines and the like."""

CLONE_THREAD = 0x10000
TIOCSTI = 0x5412
LOW_HALF = 0xFFFFFFFF

OTHER_PROCESSES = (
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
    "process_mrelease", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo",
    "tkill", "kcmp", "move_pages", "migrate_pages", "setpgid", "setsid",
)  # fmt: skip

KERNEL = (
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key",
    "request_key", "keyctl", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load",
    "reboot", "acct", "swapon", "swapoff", "quotactl", "quotactl_fd", "syslog", "iopl", "ioperm", "vhangup",
    "settimeofday", "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64", "adjtimex", "stime",
    "sethostname", "setdomainname", "fanotify_init", "lookup_dcookie", "modify_ldt", "personality",
    "mq_open", "mq_unlink", "shmget", "shmat", "shmctl", "semget", "semctl", "msgget", "msgctl", "msgsnd", "msgrcv",
)  # fmt: skip

NAMESPACES = (
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree",
    "open_tree_attr", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at",
    "name_to_handle_at", "mknod", "mknodat",
)  # fmt: skip

NETWORK = ("socket", "connect", "bind", "listen", "accept", "accept4", "sendmmsg", "recvmmsg", "socketcall")

FILES = (
    "open", "openat", "openat2", "creat", "truncate", "truncate64", "link", "linkat", "symlink", "symlinkat",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmodat",
    "fchmodat2", "chown", "lchown", "fchownat", "utime", "utimes", "utimensat", "futimesat", "setxattr", "lsetxattr",
    "removexattr", "lremovexattr", "getxattr", "lgetxattr", "inotify_add_watch", "uselib", "statfs", "memfd_create",
)  # fmt: skip
"""All that take the path of a file, but those that look at its status: the time zone is checked by that."""

FORBIDDEN = (*OTHER_PROCESSES, *KERNEL, *NAMESPACES)


class Argument(NamedTuple):
    """A condition on one argument of a system call."""

    position: int
    comparison: int
    value: int
    other: int = 0


class Rule(NamedTuple):
    """A system call to refuse, where the condition is met, and the error that it gets."""

    call: str
    error: int = errno.EPERM
    where: Argument | None = None


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def refused(*, files: bool, unix_sockets: bool) -> Iterator[Rule]:
    """Yield all rules for a process.

    Args:
        files: it opens files.
        unix_sockets: it may create and name unix sockets, though not connect them.
    """
    yield from map(Rule, FORBIDDEN)
    # The C library takes the older call then, whose flags a filter can see.
    yield Rule("clone3", errno.ENOSYS)
    yield Rule("clone", errno.EPERM, Argument(0, MASKED_EQUAL, CLONE_THREAD, 0))
    for call in ("kill", "tgkill"):
        yield Rule(call, errno.EPERM, Argument(0, NOT_EQUAL, os.getpid()))
    yield Rule("ioctl", errno.EPERM, Argument(1, MASKED_EQUAL, LOW_HALF, TIOCSTI))
    if unix_sockets:
        yield Rule("socket", errno.EACCES, Argument(0, NOT_EQUAL, AF_UNIX))
        yield Rule("connect", errno.EACCES)
        yield Rule("socketcall", errno.EACCES)
    else:
        yield from (Rule(call, errno.EACCES) for call in NETWORK)
    if not files:
        yield from (Rule(call, errno.EACCES) for call in FILES)


def refused_to_programs() -> Iterator[Rule]:
    """Yield the rules for a process that starts others, which talk with one another."""
    yield from map(Rule, (*KERNEL, *NAMESPACES))
    yield Rule("ptrace")
    yield Rule("socket", errno.EACCES, Argument(0, GREATER, AF_NETLINK))
    yield Rule("ioctl", errno.EPERM, Argument(1, MASKED_EQUAL, LOW_HALF, TIOCSTI))


class SystemCallFilter:
    """Refuses system calls. It is made first, as that opens the library, and applied last.

    Raises:
        OSError: the library is missing, or refuses a rule.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._library = _library()
        self._context = self._library.seccomp_init(ALLOW)
        if not self._context:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        for rule in rules:
            _add(self._library, self._context, rule)

    def apply(self) -> None:
        """Hold for this thread and those that it starts, for ever. Raises OSError."""
        try:
            _check(self._library.seccomp_load(self._context))
        finally:
            self._library.seccomp_release(self._context)


def _add(library: ctypes.CDLL, context: int, rule: Rule) -> None:
    number = library.seccomp_syscall_resolve_name(rule.call.encode())
    if number == UNKNOWN:
        return
    conditions = (_Comparison * 1)(*[_Comparison(*rule.where)] if rule.where else [])
    count = 1 if rule.where else 0
    result = library.seccomp_rule_add_array(context, ERRNO | rule.error, number, count, conditions)
    if result != -errno.EDOM:  # this architecture does not have it
        _check(result)


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    )
    for function in (library.seccomp_load, library.seccomp_release):
        function.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    return library


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
