"""The confined processes, taken over: each runs code that a test sends, in place of its work.

    python -m tests.support.intruder template|grammar       what a request brings is code
    python -m tests.support.intruder FD                     a worker; the model's name is code

The process itself is the one that ships: it confines itself as it always does. `without` names layers that the
kernel then does not seem to have.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from edgeinfer.backends.llama_cpp import spawn
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.handle import WorkerHandle
from edgeinfer.backends.llama_cpp.messages import PrefixCacheConfig
from edgeinfer.chat.template_renderer import TemplateRenderer
from edgeinfer.errors import EdgeinferError, ModelLoadFailed
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.ipc.confinement.seccomp import EQUAL, Argument, Rule, SystemCallFilter

VARIABLE = "LC_INTRUDER"
"""Starts with what every process of llama.cpp inherits."""

LAYERS = {
    "landlock": [Rule("landlock_create_ruleset", errno.ENOSYS)],
    "seccomp": [Rule("seccomp", errno.ENOSYS), Rule("prctl", errno.EINVAL, Argument(0, EQUAL, 22))],
    "namespaces": [Rule("unshare", errno.EPERM)],
}
"""Layer -> what makes it fail, as a kernel without it would."""

PROGRAM = """
import ctypes, errno, os, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
BYTES = ctypes.create_string_buffer(8)
VECTOR = (ctypes.c_ulong * 2)(ctypes.addressof(BYTES), 8)
def call(name, *args):
    number = NUMBERS[name]
    if libc.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""

ATTACKS = {
    "passwords": "open('/etc/shadow').read()",
    "a file that everybody may read": "open('/etc/hostname').read()",
    "list the root directory": "os.listdir('/')",
    "secrets of the daemon": "open(f'/proc/{os.getppid()}/environ').read()",
    "memory of the daemon": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
    "command line of the first process": "open('/proc/1/cmdline').read()",
    "write": "open('/tmp/edgeinfer-intruder', 'w')",
    "device": "open('/dev/ptmx', 'rb').close()",
    "TCP": "socket.create_connection(('127.0.0.1', PORT), 2)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))",
    "IPv6": "socket.create_connection(('::1', PORT), 2)",
    "listen": "socket.create_server(('127.0.0.1', 0))",
}
"""What files or the network are needed for."""

POWERS = {
    "unix socket": "socket.socket(socket.AF_UNIX).connect(UNIX)",
    "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    "run a program": "os.execv('/bin/true', ['true'])",
    "start a program": "subprocess.run(['/bin/true'])",
    "fork": "os.fork()",
    "trace the daemon": "call('ptrace', 16, os.getppid(), 0, 0)",
    "read the daemon's memory": "call('process_vm_readv', os.getppid(), VECTOR, 1, VECTOR, 1, 0)",
    "take the daemon's descriptors": "call('pidfd_open', os.getppid(), 0)",
    "signal the daemon": "os.kill(os.getppid(), 0)",
    "signal all": "os.kill(-1, 0)",
    "namespaces": "call('unshare', 0x10000000)",
    "mount": "call('mount', None, b'/', b'tmpfs', 0, None)",
    "io_uring": "call('io_uring_setup', 1, None)",
    "bpf": "call('bpf', 0, None, 0)",
    "perf": "call('perf_event_open', None, 0, -1, -1, 0)",
    "userfaultfd": "call('userfaultfd', 0)",
    "keyring": "call('keyctl', 0, 0, 0, 0, 0)",
    "type on the terminal": "call('ioctl', 2, 0x5412, b'x')",
}
"""What only the filter of system calls prevents."""

CALLS = (
    "ptrace", "process_vm_readv", "pidfd_open", "unshare", "mount", "io_uring_setup", "bpf", "perf_event_open",
    "userfaultfd", "keyctl", "ioctl",
)  # fmt: skip

REFUSALS = (errno.EPERM, errno.EACCES, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENOSYS)


def numbers() -> dict[str, int]:
    """Numbers of the system calls on this architecture."""
    resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name
    return {name: resolve(name.encode()) for name in CALLS}


def attack(code: str) -> str:
    """Run a program that ends with an expression: "done", or the error's name. In the confined process."""
    scope: dict[str, Any] = {}
    *statements, expression = code.split("\n")
    try:
        exec("\n".join(statements), scope)
        return f"done: {eval(expression, scope)!r}"
    except OSError as e:
        return errno.errorcode.get(e.errno or 0, str(e))


def program(code: str, port: int, unix: str = "/run/docker.sock") -> str:
    """An attack with all that it refers to."""
    return f"{PROGRAM}\nNUMBERS = {numbers()}\nPORT = {port}\nUNIX = {unix!r}\n{code}"


def succeeded(attacks: Collection[str], results: Sequence[str]) -> dict[str, str]:
    """The attacks that were not refused, with their results."""
    refusals = {errno.errorcode[number] for number in REFUSALS}
    return {name: result for name, result in zip(attacks, results, strict=True) if result not in refusals}


# --- the daemon's side


async def in_template(
    monkeypatch: pytest.MonkeyPatch, codes: Sequence[str], without: Sequence[str] = ()
) -> list[str]:
    """What the programs do in the template process."""
    _take_over(monkeypatch, "template", without)
    renderer = TemplateRenderer(30)
    try:
        return [await renderer.render(code, {}) for code in codes]
    finally:
        await renderer.close()


async def in_grammar(
    monkeypatch: pytest.MonkeyPatch, codes: Sequence[str], without: Sequence[str] = ()
) -> list[str]:
    """What the programs do in the grammar process."""
    _take_over(monkeypatch, "grammar", without)
    compiler = GrammarCompiler(30)
    source = GrammarSource("schema", "json_schema", {}, "schema")
    try:
        return [await compiler.find_violation(source, code) or "" for code in codes]
    finally:
        await compiler.close()


async def in_worker(
    monkeypatch: pytest.MonkeyPatch,
    codes: Sequence[str],
    without: Sequence[str] = (),
    *,
    model: str = "fake",
    prefix_cache: Path | None = None,
    gpu: bool = False,
    confine: bool = True,
) -> list[str]:
    """What the programs do in a worker."""
    _take_over(monkeypatch, "worker", without)
    monkeypatch.setattr(spawn, "MODULE", "tests.support.intruder")
    config = LlamaConfig(model=model, name=json.dumps(list(codes)), gpu_layers=-1 if gpu else 0)
    cache = PrefixCacheConfig(str(prefix_cache), 1) if prefix_cache else None
    worker = WorkerHandle(config, prefix_cache=cache, confine=confine)
    await worker.start()
    try:
        await worker.loaded(60)
    except EdgeinferError as e:
        results: list[str] = json.loads(e.message)
        return results
    finally:
        await worker.stop()
    raise AssertionError("the worker loaded something")


@functools.cache
def idle_threads() -> int:
    """Number of threads of a program that starts none: an emulator of programs has some of its own."""
    count = "import os; print(len(os.listdir('/proc/self/task')))"
    return int(subprocess.check_output([sys.executable, "-S", "-c", count]))


def _take_over(monkeypatch: pytest.MonkeyPatch, kind: str, without: Sequence[str]) -> None:
    variables = {VARIABLE: ",".join((kind, str(idle_threads()), *without))}
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    monkeypatch.setattr(spawn, "ENVIRONMENT", {**spawn.ENVIRONMENT, **variables})
    monkeypatch.setattr(
        "edgeinfer.ipc.child_client.child_environment",
        lambda: {"PYTHONPATH": os.pathsep.join(sys.path), **variables},
    )
    start = "edgeinfer.ipc.child_client._spawn"
    from edgeinfer.ipc import child_client

    spawn_module = child_client._spawn
    monkeypatch.setattr(start, lambda _: spawn_module("tests.support.intruder"))


# --- the process


def main() -> int:
    kind, threads, *without = os.environ[VARIABLE].split(",")
    if without:
        SystemCallFilter(rule for layer in without for rule in LAYERS[layer]).apply()
    assert len(list(Path("/proc/self/task").iterdir())) == int(threads), (
        "threads that run already would not be confined"
    )
    _ = (socket, subprocess)  # used by the attacks, and loaded before no file can be
    return _worker() if kind == "worker" else _helper(kind)


def _worker() -> int:
    from edgeinfer.backends.llama_cpp.worker import process

    def take_over(config: LlamaConfig, *_: object) -> NoReturn:
        raise ModelLoadFailed(json.dumps([attack(code) for code in json.loads(config.name)]))

    vars(process)["open_runtime"] = take_over
    return process.main()


def _helper(kind: str) -> int:
    if kind == "template":
        from edgeinfer.chat import template_process
        from edgeinfer.chat.template_protocol import RenderOutcome, RenderResponse

        vars(template_process)["answer"] = lambda _, request: RenderResponse(
            [RenderOutcome(attack(request.source))]
        )
        template_process.main()
    else:
        from edgeinfer.grammar import process
        from edgeinfer.grammar.protocol import GrammarReply

        process.GrammarRequestHandler.handle = lambda _, request: GrammarReply(violation=attack(request.text))  # type: ignore[method-assign,assignment]
        process.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
