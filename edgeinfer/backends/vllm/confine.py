"""Confines `vllm serve`: python -m edgeinfer.backends.vllm.confine JSON.

It gives up what vLLM does not need, writes down which layers hold, and becomes vLLM. All that holds for it then holds
for the processes that vLLM starts.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edgeinfer.ipc.confinement.confinement import confine_program
from edgeinfer.ipc.confinement.file_access import LIBRARY_PATHS, SYSTEM, Access, gpu_files
from edgeinfer.ipc.confinement.landlock import CHANGE, READ, FileRight
from edgeinfer.user_folders import home

MODULE = "edgeinfer.backends.vllm.confine"
REPORT = "confinement.json"
"""Name of the file in vLLM's private folder that says which layers hold."""

PROGRAMS = READ | FileRight.EXECUTE
WORKPLACE = READ | CHANGE | FileRight.MAKE_SYM | FileRight.MAKE_FIFO | FileRight.MAKE_SOCK | FileRight.REFER
READ_WRITE = FileRight.READ_FILE | FileRight.WRITE_FILE

PROGRAM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
GPU_PROGRAMS = ("/opt/rocm", "/opt/cuda")

FACTS = (
    "/proc", "/sys/devices", "/sys/fs/cgroup", "/sys/class", "/sys/bus", "/sys/module", "/etc/alternatives",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts",
    "/etc/host.conf", "/etc/gai.conf", "/etc/resolv.conf", "/etc/os-release", "/etc/mime.types", "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/ca-certificates",
)  # fmt: skip
"""What its libraries read about the machine and its users. Of other processes' memory and variables, which /proc has
too, Landlock keeps it away."""

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

SHARED_MEMORY = "/dev/shm"

CACHE_VARIABLES = (
    "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT", "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR",
    "TRITON_HOME", "FLASHINFER_WORKSPACE_BASE",
)  # fmt: skip
"""Variables that name another folder for what is compiled."""

PARTS = ("bin", "lib", "lib64", "include")
"""What belongs to Python in a folder with other things, such as ~/.local."""


class ConfinedCommand(msgspec.Struct, frozen=True):
    """vLLM's command line, and what it works with.

    Attributes:
        model: the model's folder, to read.
        folder: its private folder.
        cache: where it keeps what it has compiled.
        gpu: it computes on graphics cards.
    """

    words: list[str]
    model: str
    folder: str
    cache: str
    gpu: bool = False

    def argv(self) -> list[str]:
        """The command line that runs it confined; PYTHONPATH must lead to this package."""
        return [sys.executable, "-m", MODULE, msgspec.json.encode(self).decode()]


def main(argument: str) -> None:
    """Become the command. Raises OSError."""
    command = msgspec.json.decode(argument, type=ConfinedCommand)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would contain prompts
    os.environ.pop("PYTHONPATH", None)  # ours
    layers = confine_program(vllm_files(command))
    Path(command.folder, REPORT).write_bytes(msgspec.json.encode(layers))
    os.execv(command.words[0], command.words)


def vllm_files(command: ConfinedCommand, environ: Mapping[str, str] = os.environ) -> Iterator[Access]:
    """Yield the files that vLLM needs."""
    yield from ((folder, PROGRAMS) for folder in PROGRAM_FOLDERS)
    yield command.words[0], PROGRAMS
    yield from ((str(folder), PROGRAMS) for folder in python_folders(Path(command.words[0]), home(environ)))
    yield from ((path, READ) for path in (*SYSTEM, *FACTS))
    for name in LIBRARY_PATHS:
        yield from ((path, READ) for path in environ.get(name, "").split(os.pathsep) if path.strip("/"))
    yield from ((str(path), READ) for path in model_paths(Path(command.model)))
    yield from ((device, READ_WRITE) for device in DEVICES)
    own = (command.folder, command.cache, SHARED_MEMORY, *(environ.get(name) for name in CACHE_VARIABLES))
    yield from ((path, WORKPLACE) for path in own if path and path != "/")
    if command.gpu:
        yield from gpu_files(environ)
        yield from ((folder, PROGRAMS) for folder in GPU_PROGRAMS)


def model_paths(folder: Path) -> Iterator[Path]:
    """Yield a model's folder, and the files elsewhere that links in it name."""
    yield folder
    with contextlib.suppress(OSError):
        yield from (path.resolve() for path in folder.iterdir() if path.is_symlink())


def python_folders(program: Path, home: Path) -> Iterator[Path]:
    """Yield the folders of a program's Python, and of the packages that it finds there."""
    interpreters = {program, program.resolve(), *(_interpreter(program))}
    interpreters |= {path.resolve() for path in interpreters}
    for prefix in dict.fromkeys(path.parent.parent for path in interpreters):
        if (prefix / "pyvenv.cfg").is_file():
            yield prefix
            if base := _base(prefix / "pyvenv.cfg"):
                yield from _parts(base.parent, home)
        else:
            yield from _parts(prefix, home)


def _interpreter(program: Path) -> Iterator[Path]:
    """The one in the program's first line; beside it where that is a shell's, as for long paths."""
    yield program.with_name("python3")
    yield program.with_name("python")
    with contextlib.suppress(OSError, ValueError), program.open("rb") as file:
        line = file.readline(1024).decode()
        if line.startswith("#!/") and line[2:].strip():
            yield Path(line[2:].split()[0])


def _base(config: Path) -> Path | None:
    """The folder of the Python that a virtual environment was made with."""
    with contextlib.suppress(OSError, ValueError):
        for line in config.read_text().splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "home" and value.strip().startswith("/"):
                return Path(value.strip())
    return None


def _parts(prefix: Path, home: Path) -> Iterator[Path]:
    """Yield a Python's folder, or what belongs to it in one that has other things too."""
    if prefix in (Path("/"), home, *home.parents) or not prefix.is_absolute():
        return
    if prefix == home / ".local" or not (prefix / "lib").is_dir():
        yield from (prefix / part for part in PARTS)
    else:
        yield prefix


if __name__ == "__main__":
    main(sys.argv[1])
