"""A 64-bit ARM machine to try edgeinfer on, emulated one program at a time.

It shares this machine's kernel and network; users, processes, files and what runs the emulator are its own, in
namespaces that take no rights of root. Nothing that happens in there reaches this machine's files.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.arm_layers import CPU_FILE, START_EMULATOR, MissingMeans, check_programs, emulator

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

LIMIT = 1200.0
"""Seconds for a command: emulated it takes ten to twenty times as long, on a machine that is busy."""

ELF = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""How a program of 64-bit ARM begins."""

START = r"""
set -e
# What runs programs of another processor is a matter of each user namespace, from Linux 6.7 on.
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf %s ":arm:M::$ELF:$MASK:$EMULATOR:F" >/proc/sys/fs/binfmt_misc/register
mount -t tmpfs tmpfs "$FOLDER"
mkdir "$FOLDER/upper" "$FOLDER/work" "$FOLDER/root"
mount -t overlay overlay -o "userxattr,lowerdir=$LAYERS,upperdir=$FOLDER/upper,workdir=$FOLDER/work" "$FOLDER/root"
cd "$FOLDER/root"
printf %s "$CPU" >"./$CPU_FILE"
mkdir -p proc dev tmp root "$@"
mount -t proc proc proc
mount --rbind /dev dev
for target; do mount --rbind "/$target" "$target"; done
exec chroot . /bin/sh -c 'echo ready; exec sleep infinity'
"""
"""Makes the machine; its first process holds it."""


class ArmBox:
    """A machine that `start` makes of layers, that runs commands, and that `close` removes.

    Args:
        cpu: qemu's name of its processor, with what to switch off: "max,sme=off".
        layers: folders that are laid over one another, the first on top.
        binds: folders of this machine that it sees, under the same path.
    """

    def __init__(self, cpu: str, layers: Sequence[Path], binds: Sequence[Path] = ()) -> None:
        self._cpu = cpu
        self._layers = layers
        self._binds = binds
        self._folder = Path(tempfile.mkdtemp(prefix="edgeinfer-arm-"))
        self._holder: subprocess.Popen[str] | None = None
        self._leader = 0

    def start(self) -> None:
        """Raises MissingMeans."""
        check_programs()
        namespaces = ("--user", "--map-root-user", "--mount", "--pid", "--ipc", "--uts", "--fork")
        binds = [str(path).lstrip("/") for path in self._binds]
        self._holder = subprocess.Popen(
            # Neither must outlive this process, however that ends.
            [
                "setpriv",
                "--pdeathsig=KILL",
                "unshare",
                *namespaces,
                "--kill-child",
                "sh",
                "-c",
                START,
                "sh",
                *binds,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": PATH,
                "ELF": ELF,
                "MASK": MASK,
                "EMULATOR": str(emulator() / START_EMULATOR),
                "CPU": self._cpu,
                "CPU_FILE": CPU_FILE,
                "FOLDER": str(self._folder),
                "LAYERS": ":".join(map(str, (*self._layers, emulator()))),
            },
        )
        assert self._holder.stdout
        assert self._holder.stderr
        if self._holder.stdout.readline() != "ready\n":
            raise MissingMeans(
                "no emulated ARM machine can be made here, which takes Linux 6.7, user namespaces, overlays in them "
                f"and binfmt_misc:\n{self._holder.stderr.read()}"
            )
        pid = self._holder.pid
        (self._leader,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def close(self) -> None:
        if self._holder:
            self._holder.kill()
            self._holder.wait()
            for pipe in (self._holder.stdout, self._holder.stderr):
                if pipe:
                    pipe.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def command(self, words: Sequence[str], environ: Mapping[str, str] = {}) -> list[str]:
        """Return the command of this machine that runs `words` in that one."""
        namespaces = (
            "--user",
            "--preserve-credentials",
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--root",
            "--wd",
        )
        variables = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", **environ}
        settings = [f"{name}={value}" for name, value in variables.items()]
        return ["nsenter", f"--target={self._leader}", *namespaces, "env", "-i", *settings, *words]

    def attempt(
        self, *words: str, seconds: float = LIMIT, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, and wait for it."""
        return subprocess.run(
            self.command(words, environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )

    def run(self, *words: str, seconds: float = LIMIT, **environ: str) -> str:
        """Return what a command prints; it must succeed."""
        done = self.attempt(*words, seconds=seconds, **environ)
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file in the machine."""
        inside = Path(f"/proc/{self._leader}/root", path.lstrip("/"))
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text)


@contextmanager
def open_box(cpu: str, layers: Sequence[Path], binds: Sequence[Path] = ()) -> Iterator[ArmBox]:
    box = ArmBox(cpu, layers, binds)
    try:
        box.start()
        yield box
    finally:
        box.close()
