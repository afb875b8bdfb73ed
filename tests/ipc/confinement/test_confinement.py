"""The confined processes, once somebody has taken them over."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from edgeinfer.ipc.confinement.landlock import landlock_version
from edgeinfer.ipc.confinement.system_call import IS_LINUX, prctl
from tests.support.intruder import ATTACKS, POWERS, in_grammar, in_template, in_worker, program, succeeded

pytestmark = pytest.mark.skipif(not IS_LINUX, reason="only Linux confines processes")

GET_SECCOMP = 21


def has_seccomp() -> bool:
    """Whether the kernel has it. An emulator of programs does not pass it on."""
    try:
        prctl(GET_SECCOMP, 0)
    except OSError:
        return False
    return True


needs_landlock = pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(
    IS_LINUX and not has_seccomp(), reason="this kernel has no seccomp, which also hides other layers here"
)

Run = Callable[..., Awaitable[list[str]]]

EVERYTHING = ATTACKS | POWERS
PROCESSES = pytest.mark.parametrize("run", [in_template, in_grammar, in_worker])
HELPERS = pytest.mark.parametrize("run", [in_template, in_grammar])


@pytest.fixture
def port() -> Iterator[int]:
    """A port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def attempt(
    run: Run, monkeypatch: pytest.MonkeyPatch, attacks: dict[str, str], port: int, without: Sequence[str] = ()
) -> dict[str, str]:
    """The attacks that were carried out, with their results."""
    codes = [program(code, port) for code in attacks.values()]
    return succeeded(attacks, await run(monkeypatch, codes, without))


@needs_landlock
@PROCESSES
async def test_intruder_gets_nowhere(run: Run, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """No files, no network, no other processes, and nothing of the kernel that is not needed."""
    assert await attempt(run, monkeypatch, EVERYTHING, port) == {}


@needs_seccomp
@HELPERS
async def test_helper_needs_no_landlock(run: Run, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Older kernels do not have it; the filter of system calls is enough where nothing is opened."""
    assert await attempt(run, monkeypatch, EVERYTHING, port, ["landlock"]) == {}


@needs_seccomp
async def test_worker_without_landlock_has_files_alone(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Neither network nor other processes; files are those of the daemon's user."""
    attacks = {
        name: code for name, code in EVERYTHING.items() if "open(" not in code and "listdir" not in code
    }
    assert await attempt(in_worker, monkeypatch, attacks, port, ["landlock", "namespaces"]) == {}


@needs_seccomp
@needs_landlock
@PROCESSES
async def test_landlock_alone_keeps_files_and_daemon(
    run: Run, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """Without libseccomp, and where namespaces are forbidden."""
    attacks = {name: code for name, code in ATTACKS.items() if "open" in code or "listdir" in code}
    attacks |= {
        name: POWERS[name] for name in ("trace the daemon", "read the daemon's memory", "run a program")
    }
    assert await attempt(run, monkeypatch, attacks, port, ["seccomp", "namespaces"]) == {}


@needs_seccomp
@pytest.mark.skipif(landlock_version() < 4, reason="this kernel's Landlock knows no ports")
@PROCESSES
async def test_landlock_alone_forbids_tcp(run: Run, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """It does from version 4 on; not other protocols."""
    attacks = {name: ATTACKS[name] for name in ("TCP", "IPv6", "listen")}
    assert await attempt(run, monkeypatch, attacks, port, ["seccomp", "namespaces"]) == {}


@needs_seccomp
@PROCESSES
async def test_namespace_alone_has_no_network(run: Run, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """An old kernel, and no libseccomp."""
    attacks = {name: ATTACKS[name] for name in ("TCP", "UDP", "IPv6")}
    assert await attempt(run, monkeypatch, attacks, port, ["landlock", "seccomp"]) == {}


@needs_seccomp
@PROCESSES
async def test_nothing_holds_and_everything_works(
    run: Run, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """A process is not refused for what the kernel lacks; these attacks are real, as they succeed here."""
    attacks = {
        name: EVERYTHING[name] for name in ("passwords", "secrets of the daemon", "TCP", "signal the daemon")
    }
    done = await attempt(run, monkeypatch, attacks, port, ["landlock", "seccomp", "namespaces"])
    assert set(done) >= {"TCP", "signal the daemon"}


@needs_landlock
async def test_worker_reads_its_model_and_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nor may it change either."""
    model, other = tmp_path / "model.gguf", tmp_path / "other.gguf"
    for path in (model, other):
        path.write_text(path.stem)
    codes = [
        f"open({str(model)!r}).read()",
        f"open({str(other)!r}).read()",
        f"open({str(model)!r}, 'w')",
        f"__import__('os').unlink({str(model)!r})",
    ]
    assert await in_worker(monkeypatch, codes, model=str(model)) == [
        "done: 'model'",
        "EACCES",
        "EACCES",
        "EACCES",
    ]


@needs_landlock
async def test_worker_writes_to_its_prefix_cache_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The directory need not exist before."""
    cache = tmp_path / "prefixes"
    codes = [
        f"open('{cache}/new', 'w').write('x')",
        f"__import__('os').rename('{cache}/new', '{cache}/renamed')",
        f"open('{cache}/renamed').read()",
        f"__import__('os').unlink('{cache}/renamed')",
        f"open('{tmp_path}/beside', 'w')",
        f"__import__('os').symlink('/etc', '{cache}/link')",
    ]
    results = await in_worker(monkeypatch, codes, prefix_cache=cache)
    assert results == ["done: 1", "done: None", "done: 'x'", "done: None", "EACCES", "EACCES"]


async def test_worker_leaves_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would contain what users asked."""
    assert await in_worker(monkeypatch, ["import resource\nresource.getrlimit(resource.RLIMIT_CORE)"]) == [
        "done: (0, 0)"
    ]


async def test_worker_has_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread is not a process."""
    start = "import threading\nthreads = [threading.Thread(target=print) for _ in range(4)]\n"
    assert await in_worker(monkeypatch, [start + "[(t.start(), t.join()) for t in threads] and 'ran'"]) == [
        "done: 'ran'"
    ]


@needs_landlock
async def test_gpu_worker_has_no_network_either(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Drivers create unix sockets, and connect none; they read no secrets."""

    async def run(monkeypatch: pytest.MonkeyPatch, codes: Sequence[str], without: Sequence[str]) -> list[str]:
        return await in_worker(monkeypatch, codes, without, gpu=True)

    assert await attempt(run, monkeypatch, EVERYTHING, port) == {}
    (result,) = await run(monkeypatch, ["import socket\nsocket.socket(socket.AF_UNIX).fileno() > 0"], [])
    assert result == "done: True"


async def test_confinement_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a driver that needs what nobody thought of."""
    assert await in_worker(monkeypatch, ["__import__('os').listdir('/') and 'seen'"], confine=False) == [
        "done: 'seen'"
    ]
