"""A machine to try services on: an overlay of this machine's own root, booted with its own systemd.

Nothing that happens in there reaches the machine: the overlay's upper layer is in memory, the network is a
loopback of its own, and of every hierarchy of cgroups the box has a part of its own, joined before systemd
starts; without that systemd would move all processes of the machine into its cgroups.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeinfer/systemd-box"
PACKAGES = ("systemd-container", "libsystemd-shared", "libsystemd0")

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT_LIMIT = 60.0
STOP_LIMIT = 30.0

WITH_US = ("setpriv", "--pdeathsig=TERM")
"""For processes that must not outlive this one, however that ends: nspawn then shuts the box down."""

LAYERS = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
: >etc/machine-id
rm -rf etc/systemd/system/*.wants etc/systemd/user/*.wants var/log/journal
mkdir -p var/log/journal
echo ready
exec sleep infinity
"""
"""Holds the layers, so that they outlive a reboot. Of the machine's own services none shall start."""

JOIN = """
for group in $GROUPS_TO_JOIN; do echo $$ >"$group/cgroup.procs"; done
exec nsenter --mount="/proc/$HOLDER/ns/mnt" -- "$@"
"""

FETCH = """
import sys, urllib.request, urllib.error
request = urllib.request.Request(sys.argv[1], data=sys.argv[2].encode() if len(sys.argv) > 2 else None)
request.add_header("Content-Type", "application/json")
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode())
except OSError as e:
    print(0, e)
"""


class BoxError(Exception):
    """The reason why this machine cannot boot a box."""


class Box:
    """A machine that `start` boots, that runs commands, and that `close` removes."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="edgeinfer-box-"))
        # The folder's random part may end in "_", and a machine is named like a host.
        self._name = f"edgeinfer-box-{secrets.token_hex(4)}"
        self._groups: list[Path] = []
        self._holder: subprocess.Popen[str] | None = None
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def start(self) -> None:
        """Boot the box; the second time it is the same machine after a reboot."""
        if self._holder is None:
            self._holder = self._hold_layers()
        self._groups = list(_make_groups(self._name))
        console = (self._folder / "console").open("wb")
        program, libraries = _find_nspawn()
        command = [
            *(*WITH_US, "sh", "-c", JOIN, "sh", program, "--quiet", "--boot"),
            *(f"--directory={self._folder / 'layers/root'}", f"--machine={self._name}"),
            *("--register=no", "--keep-unit", "--link-journal=no", "--private-network"),
            "--kill-signal=SIGRTMIN+3",
            # A machine allows them; nspawn does not by itself.
            "--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
            *(f"--bind-ro={path}" for path in _elsewhere()),
            "systemd.unit=multi-user.target",
        ]
        self._nspawn = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={
                "PATH": PATH,
                "LD_LIBRARY_PATH": libraries,
                "GROUPS_TO_JOIN": " ".join(map(str, self._groups)),
                "HOLDER": str(self._holder.pid),
            },
        )
        console.close()
        self._leader = self._wait_for(self._find_leader, "its first process")
        self._wait_for(self._is_up, "a running system")

    def stop(self) -> None:
        """Switch the box off by its power button."""
        if self._nspawn is None:
            return
        if self._leader and self._nspawn.poll() is None:
            os.kill(self._leader, signal.SIGRTMIN + 3)
        try:
            self._nspawn.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader or self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait()
        self._nspawn, self._leader = None, 0
        _remove_groups(self._groups)

    def close(self) -> None:
        self.stop()
        if self._holder:
            self._holder.kill()
            self._holder.wait()
            if self._holder.stdout:
                self._holder.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def attempt(self, *command: str, user: str = "root", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the box, and wait for it."""
        home = "/root" if user == "root" else f"/home/{user}"
        variables = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": home, **environ}
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        words = [f"{name}={value}" for name, value in variables.items()]
        return subprocess.run(
            [*self._inside(), "env", "-i", *words, *become, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )

    def run(self, *command: str, user: str = "root", **environ: str) -> str:
        """Return what a command in the box prints; it must succeed."""
        done = self.attempt(*command, user=user, **environ)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def log_in(self, user: str, script: str, *, seconds: float = 1200) -> subprocess.CompletedProcess[str]:
        """Type commands into a shell that a user has logged in to, and log out; the first failure ends it."""
        text = f"set -e -o pipefail\n{script}\n"
        return subprocess.run(
            [*self._inside(), "env", "-i", f"PATH={PATH}", "su", "-", user, "-s", "/bin/bash", "-c", text],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )

    def install_packages(self, *names: str) -> None:
        """Install packages of the distribution, downloaded outside, whose dependencies are there."""
        folder = _nspawn_folder() / "packages"
        for name in names:
            if not [*folder.glob(f"{name}_*.deb")]:
                download_packages(folder, name)
        files = [path for name in names for path in folder.glob(f"{name}_*.deb")]
        for file in files:
            Path(f"/proc/{self._leader}/root/var/tmp", file.name).write_bytes(file.read_bytes())
        debs = [f"/var/tmp/{file.name}" for file in files]
        self.run("dpkg", "--install", "--force-confold", *debs, DEBIAN_FRONTEND="noninteractive")

    def edgeinfer(self, *arguments: str, user: str = "root", **environ: str) -> str:
        return self.run(str(Path(sys.prefix, "bin/edgeinfer")), *arguments, user=user, **environ)

    def show(self, name: str, unit: str = "edgeinfer.service") -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def fetch(self, path: str, body: Any = None, port: int = 11435) -> tuple[int, str]:
        """Return status and body of an HTTP request; status 0 if it was not answered."""
        data = [json.dumps(body)] if body is not None else []
        status, _, text = self.run(
            sys.executable, "-c", FETCH, f"http://127.0.0.1:{port}{path}", *data
        ).partition(" ")
        return int(status), text

    def write(self, path: str, text: str) -> None:
        """Write a file in the box."""
        inside = Path(f"/proc/{self._leader}/root", path.lstrip("/"))
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text)

    def copy(self, source: Path, path: str) -> None:
        """Copy a file of this machine into the box."""
        shutil.copyfile(source, Path(f"/proc/{self._leader}/root", path.lstrip("/")))

    def _inside(self) -> list[str]:
        namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        return ["nsenter", f"--target={self._leader}", *namespaces, "--"]

    def _hold_layers(self) -> subprocess.Popen[str]:
        layers = self._folder / "layers"
        layers.mkdir()
        holder = subprocess.Popen(
            [*WITH_US, "unshare", "--mount", "--propagation=private", "sh", "-c", LAYERS, "sh", layers],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout
        assert holder.stderr
        if holder.stdout.readline() != "ready\n":
            raise BoxError(f"no namespace with an overlay can be made here: {holder.stderr.read()}")
        holder.stderr.close()
        return holder

    def _find_leader(self) -> int | None:
        """Find the box's systemd, which is a child of nspawn."""
        assert self._nspawn
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        names = {int(child): Path(f"/proc/{child}/comm").read_text().strip() for child in children}
        return next((child for child, name in names.items() if name == "systemd"), None)

    def _is_up(self) -> bool:
        return self.attempt("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def _wait_for(self, ask: Callable[[], int | bool | None], what: str) -> int:
        deadline = time.monotonic() + BOOT_LIMIT
        while time.monotonic() < deadline:
            assert self._nspawn
            if self._nspawn.poll() is not None:
                break
            with contextlib.suppress(FileNotFoundError):
                if answer := ask():
                    return int(answer)
            time.sleep(0.1)
        console = (self._folder / "console").read_text(errors="replace")
        raise BoxError(f"the box did not come to {what}:\n{console[-3000:]}")


def type_in(box: Box, user: str, script: str) -> str:
    """Type commands after a login; what was printed, when all of them succeeded."""
    done = box.log_in(user, script)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def _make_groups(name: str) -> Iterator[Path]:
    """Make a cgroup for the box below that of this process, in every hierarchy."""
    groups = _own_groups()
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = line.split()
        if kind not in ("cgroup", "cgroup2"):
            continue
        names = [""] if kind == "cgroup2" else options.split(",")
        path = next((groups[name] for name in names if name in groups), None)
        if path is None:
            continue
        group = Path(mount, path.lstrip("/"), name)
        group.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts without any
            if kind == "cgroup" and (group / file).exists():
                (group / file).write_text((group.parent / file).read_text())
        yield group


def _own_groups() -> dict[str, str]:
    """Return this process's cgroups: controller, name=NAME, or "" for version 2 -> path."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        groups.update(dict.fromkeys(names.split(","), path))
    return groups


def _remove_groups(groups: list[Path]) -> None:
    """Remove the cgroups; the last processes may take a moment to end."""
    for group in groups:
        for _ in range(50):
            folders = [Path(folder) for folder, _, _ in os.walk(group, topdown=False)]
            with contextlib.suppress(OSError):
                for folder in folders:
                    folder.rmdir()
                break
            time.sleep(0.1)


def _elsewhere() -> list[Path]:
    """Return what the tests need and the overlay lacks: other file systems, and what the box covers."""
    needed = {path.resolve() for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix))}
    device = Path("/").stat().st_dev
    covered = (Path("/tmp"), Path("/run"))
    return sorted(
        path for path in needed if path.stat().st_dev != device or any(map(path.is_relative_to, covered))
    )


def _find_nspawn() -> tuple[str, str]:
    """Return systemd-nspawn and the path of its libraries, downloaded if the machine has none."""
    if installed := shutil.which("systemd-nspawn"):
        return installed, ""
    folder = _nspawn_folder()
    program = folder / "usr/bin/systemd-nspawn"
    if not program.exists():
        _download(folder)
    libraries = sorted({str(path.parent) for path in folder.rglob("*.so*")})
    return str(program), ":".join(libraries)


def _nspawn_folder() -> Path:
    release = platform.freedesktop_os_release()
    return CACHE / f"{release['ID']}-{release.get('VERSION_ID', 'unknown')}-{platform.machine()}"


def _download(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        download_packages(Path(temporary), *PACKAGES)
        extracted = Path(temporary, "root")
        for package in Path(temporary).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, extracted], check=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(extracted, folder, symlinks=True, dirs_exist_ok=True)


def download_packages(folder: Path, *names: str) -> None:
    if not shutil.which("apt-get"):
        raise BoxError(f"packages cannot be downloaded here: install {', '.join(names)}")
    folder.mkdir(parents=True, exist_ok=True)
    fetch = ["apt-get", "download", *names]
    done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        subprocess.run(["apt-get", "update"], check=False, capture_output=True)
        done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BoxError(f"{', '.join(names)} cannot be had: {done.stderr}")
