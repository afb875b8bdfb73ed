"""vLLM's process, once somebody has taken it over: what it reaches, and what it still needs to reach."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from edgeinfer.backends.vllm.confine import (
    REPORT,
    ConfinedCommand,
    model_paths,
    python_folders,
    vllm_files,
)
from edgeinfer.ipc.confinement.confinement import Confinement
from edgeinfer.ipc.confinement.landlock import CHANGE, landlock_version
from edgeinfer.ipc.environment import child_environment
from tests.support import intruder
from tests.support.intruder import ATTACKS, POWERS

pytestmark = pytest.mark.skipif(landlock_version() < 6, reason="this kernel has no Landlock with scopes")

ALLOWED = {
    "command line of the first process": "it reads /proc",
    "listen": "in a network of its own",
    "UDP": "which reaches nobody, see below",
    "unix socket": "its processes connect theirs",
    "netlink": "as it lists addresses",
    "run a program": "a compiler",
    "start a program": "a compiler",
    "fork": "its processes",
    "take the daemon's descriptors": "a handle, with which Landlock lets it do nothing",
    "signal all": "its own processes",
}
"""What is refused to a worker of llama.cpp, and not to vLLM."""

ALONE = {"TCP", "IPv6"}
"""It is refused by the other side, as there is none in its network."""


@pytest.fixture
def place(tmp_path: Path) -> ConfinedCommand:
    for name in ("model", "private", "cache"):
        (tmp_path / name).mkdir()
    program = tmp_path / "vllm"
    program.write_text(
        f"#!{sys.executable}\nimport errno, json, os, sys\nfrom typing import Any\n"
        + textwrap.dedent(inspect.getsource(intruder.attack))
        + "\nprint(json.dumps([attack(code) for code in json.loads(sys.argv[1])]))\n"
    )
    program.chmod(0o755)
    model, private, cache = (str(tmp_path / name) for name in ("model", "private", "cache"))
    return ConfinedCommand([str(program)], model, private, cache)


def attempt(place: ConfinedCommand, codes: Sequence[str]) -> list[str]:
    """What becomes of the programs in vLLM's place."""
    command = msgspec.structs.replace(place, words=[*place.words, json.dumps(list(codes))])
    environ = child_environment() | {"HOME": place.cache, "TMPDIR": place.folder, "EDGEINFER_SECRET": "x"}
    done = subprocess.run(
        command.argv(), env=environ, cwd=place.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results: list[str] = json.loads(done.stdout)
    return results


@pytest.fixture
def port() -> Iterator[int]:
    """A port that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_intruder_gets_nowhere(place: ConfinedCommand, port: int) -> None:
    """But for what vLLM needs, nothing of what succeeds without confinement."""
    attacks = {name: code for name, code in (ATTACKS | POWERS).items() if name not in ALLOWED}
    results = attempt(place, [intruder.program(code, port) for code in attacks.values()])
    done = intruder.succeeded(attacks, results)
    assert {name: result for name, result in done.items() if name in ALONE} == dict.fromkeys(
        ALONE, "ECONNREFUSED"
    )
    assert done.keys() == ALONE


def test_nothing_that_it_sends_arrives(place: ConfinedCommand) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        attempt(place, [intruder.program(ATTACKS["UDP"], server.getsockname()[1])])
        with pytest.raises(BlockingIOError):
            server.recv(1)


def test_it_reads_its_model_and_writes_its_own_folders(place: ConfinedCommand, tmp_path: Path) -> None:
    """A file of the model may be a link, as in the hub's cache; another model's is not read."""
    blob, other = tmp_path / "blob", tmp_path / "other"
    for path in (blob, other):
        path.write_text(path.name)
    Path(place.model, "model.safetensors").symlink_to(blob)
    model = f"{place.model}/model.safetensors"
    results = attempt(
        place,
        [
            f"open({model!r}).read()",
            f"open({model!r}, 'a')",
            f"open({str(other)!r}).read()",
            f"open({place.cache + '/kernel'!r}, 'w').write('x')",
            f"open({place.folder + '/file'!r}, 'w').write('x')",
            "open('/dev/shm/edgeinfer-confinement-test', 'w').write('x')",
            "__import__('os').unlink('/dev/shm/edgeinfer-confinement-test')",
        ],
    )
    assert results == [
        "done: 'blob'",
        "EACCES",
        "EACCES",
        "done: 1",
        "done: 1",
        "done: 1",
        "done: None",
    ]


def test_its_processes_talk_over_a_loopback_and_unix_sockets(place: ConfinedCommand) -> None:
    """And share memory, and run programs."""
    loopback = "server = s.create_server(('127.0.0.1', 0))\ns.create_connection(server.getsockname()).close()"
    unix = f"server = s.socket(s.AF_UNIX)\nserver.bind({place.folder + '/s'!r})\nserver.listen()\n"
    unix += f"s.socket(s.AF_UNIX).connect({place.folder + '/s'!r})"
    memory = (
        "from multiprocessing.shared_memory import SharedMemory\nm = SharedMemory(create=True, size=64)\n"
    )
    memory += "m.unlink()"
    queue = "import multiprocessing as m\nm.get_context('fork').Semaphore().release()"
    program = "import subprocess\nsubprocess.check_output(['/bin/echo', 'x'])"
    codes = ["import socket as s\n" + loopback, "import socket as s\n" + unix, memory, queue, program]
    assert attempt(place, codes) == ["done: None"] * 4 + ["done: b'x\\n'"]


def test_it_says_which_layers_hold(place: ConfinedCommand) -> None:
    attempt(place, [])
    layers = msgspec.json.decode(Path(place.folder, REPORT).read_bytes(), type=Confinement)
    assert (layers.landlock, layers.seccomp, layers.namespaces, layers.missing) == (
        landlock_version(),
        True,
        True,
        (),
    )


def test_our_modules_are_not_on_its_path(place: ConfinedCommand) -> None:
    """It has an environment of its own."""
    assert attempt(place, ["import os\nos.environ.get('PYTHONPATH')"]) == ["done: None"]


def test_only_the_python_of_the_program_is_opened(tmp_path: Path) -> None:
    """A home and what else is in it are not, wherever vLLM was installed."""
    home = tmp_path / "home"
    local, venv, base = home / ".local", home / "vllm", home / ".pyenv/versions/3.12"
    for folder in (local / "lib", local / "bin", venv / "bin", base / "bin", base / "lib"):
        folder.mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {base}/bin\n")
    for prefix, python in ((venv, venv / "bin/python"), (local, Path("/usr/bin/python3"))):
        (prefix / "bin/vllm").write_text(f"#!{python}\n")
    assert {venv, base} == set(python_folders(venv / "bin/vllm", home))
    found = set(python_folders(local / "bin/vllm", home))
    assert {local / part for part in ("bin", "lib", "lib64", "include")} <= found
    assert {Path("/usr")} >= {path for path in found if not path.is_relative_to(local)}


def test_no_folder_above_a_home_is_opened(tmp_path: Path) -> None:
    program = tmp_path / "home/bin/vllm"
    assert set(python_folders(program, tmp_path / "home")) == set()


def test_a_graphics_card_opens_its_devices(place: ConfinedCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its compilers' caches; without a card they stay closed."""
    with_card = dict(vllm_files(msgspec.structs.replace(place, gpu=True)))
    without = dict(vllm_files(place))
    cache = f"{os.environ['HOME']}/.nv"
    assert with_card[cache] & CHANGE
    assert cache not in without


def test_the_folder_itself_is_among_a_models_paths(tmp_path: Path) -> None:
    assert list(model_paths(tmp_path)) == [tmp_path]
