"""What an emulated 64-bit ARM machine is made of, as folders that are laid over one another, and the emulator.

Each is kept in ~/.cache/edgeinfer/arm under a name that says what it was made from, and never changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.paths import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeinfer/arm"

RELEASE, PYTHON, GLIBC = "bookworm", "3.11", "2.36"
SYSTEM = (
    *("bash", "coreutils", "dash", "grep", "libc-bin", "mawk", "procps", "sed", "tar", "util-linux"),
    *("ca-certificates", "libgomp1", "libseccomp2", "libssl3", "libstdc++6", "openssl", "python3", "tzdata"),
)
"""Packages of the distribution, which bring others."""

COMPILER = "g++-aarch64-linux-gnu"
EMULATOR = f"qemu-user/{RELEASE}-backports"
"""Packages for this machine. Version 10 of the emulator: version 7 shows programs the processor of this machine, and does not know all of Arm's."""

KINDS = ("armv8.0_1", "armv8.2_2", "armv8.6_0", "armv8.6_2")
"""Those kinds of CPUs, of the seven that llama.cpp has libraries for, that the tests emulate, to save time."""

SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
"""Where Debian's Python finds what the distribution has not brought."""

CPU_FILE = "/etc/emulated-cpu"
START_EMULATOR = "emulator/start"
STARTER = f"""
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {{
  static char cpu[100];
  char *command[argc + 3];
  int file = open("{CPU_FILE}", O_RDONLY);
  if (file < 0 || read(file, cpu, sizeof cpu - 1) <= 0) return 126;
  close(file);
  command[0] = "/emulator/qemu-aarch64";
  command[1] = "-cpu";
  command[2] = cpu;
  memcpy(command + 3, argv + 1, argc * sizeof *argv);
  execv(command[0], command);
  return 126;
}}
"""
"""A program, since the kernel passes no options. The variable that qemu reads is not passed on to edgeinfer's children."""

WRAPPER = """#!/bin/sh
root=$(dirname "$(dirname "$0")")
LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu exec "$root/usr/bin/$(basename "$0")" "$@"
"""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS = {"apt-get": "apt", "dpkg-deb": "dpkg", "nsenter": "util-linux", "unshare": "util-linux"}
"""Programs that are needed, and the packages of Debian that have them."""


class MissingMeans(Exception):
    """Says what this machine lacks for an emulated one."""


def check_programs() -> None:
    """Raise MissingMeans where the machine has not got the programs that make and run another."""
    if os.uname().machine != "x86_64":
        raise MissingMeans(f"the emulator is one for x86-64, and this machine is {os.uname().machine}")
    lacking = sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})
    if not KEYRING.exists():
        lacking.append("debian-archive-keyring")
    if lacking:
        raise MissingMeans(
            f"an emulated ARM machine needs packages that are not installed: {' '.join(lacking)}"
        )


def emulator() -> Path:
    """Return a layer with qemu, and `START_EMULATOR`, which starts it for the processor that `CPU_FILE` names."""
    return _kept("emulator", f"{EMULATOR} {STARTER}", _make_emulator)


def x86_emulator() -> Path:
    """Return qemu for x86-64: a program that runs others as on an older processor."""
    return (
        _kept("x86-emulator", EMULATOR, lambda folder: _extract_program("qemu-x86_64", folder))
        / "qemu-x86_64"
    )


def system(*more: str) -> Path:
    """Return the root of a small Debian, which may have further packages."""
    packages = (*SYSTEM, *more)
    return _kept("system", f"{RELEASE} {packages}", lambda folder: _make_system(folder, packages))


def dependencies() -> Path:
    """Return what edgeinfer needs at run time but llama.cpp, as it is pinned, from wheels only."""
    return _pinned("base.txt")


def tools() -> Path:
    """Return what the tests need, as it is pinned, from wheels only."""
    return _pinned("dev.txt")


def compiler() -> Path:
    """Return a folder with compilers that make programs for 64-bit ARM."""
    return _kept("compiler", f"{RELEASE} {COMPILER}", _make_compiler)


def llama_wheel() -> Path:
    """Return llama.cpp for 64-bit ARM processors of the kinds in `KINDS`, as scripts/build-wheel builds it."""
    environ = dict(os.environ)
    if not shutil.which("aarch64-linux-gnu-g++"):
        environ["PATH"] = f"{compiler() / 'bin'}:{environ['PATH']}"
    build = [str(ROOT / "scripts/build-wheel"), "--target", "aarch64", "--kinds", ",".join(KINDS)]
    return Path(_run(build, "llama.cpp for ARM cannot be built", env=environ).split()[-1])


def llama() -> Path:
    """Return a layer with that llama.cpp."""
    return wheel_layer(llama_wheel())


def wheel_layer(wheel: Path) -> Path:
    """Return a folder with what is in a wheel, without what it depends on."""
    made_from = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return _kept(wheel.name.partition("-")[0], made_from, lambda folder: _install(folder, [str(wheel)]))


def build_edgeinfer(folder: Path) -> None:
    """Make a layer with the wheel of this checkout in an empty folder."""
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        _run([*pip, "--wheel-dir", temporary, str(ROOT)], "edgeinfer's wheel cannot be built")
        (wheel,) = Path(temporary).glob("*.whl")
        _install(folder, [str(wheel)])


def _kept(name: str, made_from: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of that name and origin, which `make` fills if there is none yet."""
    key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    folder = CACHE / f"{name}-{key}"
    if folder.exists():
        return folder
    check_programs()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="making-") as temporary:
        part = Path(temporary, "part")
        part.mkdir()
        make(part)
        try:
            part.rename(folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    return folder


def _pinned(file: str) -> Path:
    """Return the packages that a file of requirements/ pins; llama.cpp has no wheel, and is a layer of its own."""
    text = (ROOT / "requirements" / file).read_text()
    wanted = re.sub(r"^llama-cpp-python==.*\n(?: +--hash=.*\n)+", "", text, flags=re.M)

    def make(folder: Path) -> None:
        requirements = folder / "requirements.txt"
        requirements.write_text(wanted)
        _install(folder, ["--require-hashes", "--requirement", str(requirements)])

    return _kept(file.partition(".")[0], f"{RELEASE} {wanted}", make)


def _install(folder: Path, what: Sequence[str]) -> None:
    """Install packages for the other machine; uv can do that, pip reads the markers for this one."""
    target = [f"--python-platform=aarch64-manylinux_{GLIBC.replace('.', '_')}", f"--python-version={PYTHON}"]
    uv = [sys.executable, "-m", "uv", "--quiet", "pip", "install"]
    # Copies: what is in uv's cache may be removed or changed by others.
    how = ["--only-binary=:all:", "--no-deps", "--link-mode=copy", f"--target={folder / SITE}"]
    _run([*uv, *target, *how, *what], "packages for ARM cannot be had as wheels")
    _compile(folder)


def _extract_program(name: str, folder: Path) -> None:
    """Put one program of the emulator's package into a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        unpacked = Path(temporary, "unpacked")
        _extract(_Apt(Path(temporary), "amd64").download(EMULATOR), unpacked)
        folder.mkdir(exist_ok=True)
        shutil.copy2(unpacked / "usr/bin" / name, folder)


def _make_emulator(folder: Path) -> None:
    _extract_program("qemu-aarch64", folder / "emulator")
    source, made = folder / "emulator/start.c", folder / START_EMULATOR
    source.write_text(STARTER)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    _run([*compiler, "-static", "-o", str(made), str(source)], "a program cannot be compiled")


def _make_compiler(folder: Path) -> None:
    """Unpack it where it is kept, and begin its programs so that they find their own libraries there."""
    with tempfile.TemporaryDirectory() as temporary:
        packages = _Apt(Path(temporary), "amd64").download_with_dependencies(COMPILER)
        _extract([package for package in packages if not package.name.startswith("libc6_")], folder)
    script = folder / "usr/aarch64-linux-gnu/lib/libc.so"
    script.write_text(script.read_text().replace("/usr/aarch64-linux-gnu/lib/", ""))
    (folder / "bin").mkdir()
    for program in (folder / "usr/bin").iterdir():
        wrapper = folder / "bin" / program.name
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)


def _make_system(folder: Path, packages: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        _extract(_Apt(Path(temporary), "arm64").download_with_dependencies(*packages), folder)
    _compile(folder)
    (folder / "bin/sh").unlink(missing_ok=True)
    (folder / "bin/sh").symlink_to("dash")
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n")
    (folder / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (folder / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")


def _extract(packages: Sequence[Path], folder: Path) -> None:
    """Unpack packages. Their scripts, which would have to run emulated, do nothing that is needed here."""
    for package in packages:
        _run(["dpkg-deb", "--extract", str(package), str(folder)], "a package cannot be unpacked")


def _compile(folder: Path) -> None:
    """Compile what is written in Python here, where that is fast, if there is the same version of Python."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = sys.executable if here == PYTHON else shutil.which(f"python{PYTHON}")
    if python:
        how = ["--invalidation-mode=unchecked-hash", f"--stripdir={folder}", "--prependdir=/", "-q"]
        # Some packages bring files for other versions of Python, which do not compile.
        subprocess.run([python, "-m", "compileall", *how, str(folder)], capture_output=True, check=False)


class _Apt:
    """Downloads packages of a release and an architecture that this machine need not have."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self._folder = folder
        suites = (RELEASE, f"{RELEASE}-updates", f"{RELEASE}-backports")
        source = f"deb [signed-by={KEYRING}] http://deb.debian.org/debian"
        (folder / "sources.list").write_text("".join(f"{source} {suite} main\n" for suite in suites))
        for name in ("lists/partial", "cache/archives/partial", "parts"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()  # nothing is installed
        (folder / "apt.conf").write_text(
            f"""
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/parts";
Dir::Etc::preferencesparts "{folder}/parts";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Architecture "{architecture}";
APT::Architectures {{"{architecture}";}};
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Debug::NoLocking "true";
"""
        )
        self._apt("update", "--error-on=any")

    def download(self, package: str) -> list[Path]:
        self._apt("download", package)
        return self._downloaded()

    def download_with_dependencies(self, *packages: str) -> list[Path]:
        self._apt("install", "--yes", "--download-only", *packages)
        return self._downloaded()

    def _downloaded(self) -> list[Path]:
        return sorted((self._folder / "cache/archives").glob("*.deb"))

    def _apt(self, *arguments: str) -> None:
        _run(
            ["apt-get", *arguments],
            "Debian's packages cannot be downloaded",
            cwd=self._folder / "cache/archives",
            env=os.environ | {"APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C"},
        )


def _run(
    command: Sequence[str], failure: str, *, cwd: Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise MissingMeans(f"{failure}:\n{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout
