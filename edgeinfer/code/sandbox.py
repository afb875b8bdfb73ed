"""Says how commands are confined here: by bubblewrap, by the kernel's Landlock, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from edgeinfer.code.git import search_path
from edgeinfer.ipc.confinement.landlock import landlock_version
from edgeinfer.ipc.environment import SECRET
from edgeinfer.ipc.module_command import module_command
from edgeinfer.user_folders import home

TOOLS = (
    ".asdf", ".bun", ".cargo/bin", ".cargo/git", ".cargo/registry", ".deno", ".local/bin", ".local/lib",
    ".local/share/mise", ".local/share/uv", ".nvm", ".pyenv", ".rustup", ".volta", "go",
)  # fmt: skip
"""Folders of a home that hold programs, and no secrets."""

TEMPORARY = ("/tmp", "/var/tmp")

SHELL = "/bin/sh"

NIX = "/run/current-system"
"""The programs of NixOS, in a folder that is otherwise full of sockets."""

TIMEOUT = 30.0
"""Seconds for an empty command; a busy board takes several to start Python."""

NOT_PASSED = ("SSH_AUTH_SOCK", "GPG_AGENT_INFO", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")
"""Variables by which a command would reach programs outside."""


class Sandbox(msgspec.Struct, frozen=True):
    """How a command is confined.

    Attributes:
        kind: what confines it.
        root: the only folder that it can change, but for a temporary one.
        readable: folders of the user's home, and temporary ones, that it can read.
        namespaces: with Landlock, the kernel lets it have namespaces of its own.
        protected: what it cannot change in the root.
    """

    kind: str
    root: str
    readable: tuple[str, ...] = ()
    namespaces: bool = False
    protected: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "none":
            return "without a sandbox: it can do whatever you can, and change what git starts later"
        if self.kind == "bubblewrap":
            return f"in bubblewrap: no network, and it can change only {self.root}, without .git"
        beside = "" if self.namespaces else " and without new files beside it"
        network = "no network, and it can" if self.kind == "Landlock" else "it can use the network, and"
        return f"confined by Landlock: {network} change only {self.root}, without .git{beside}"

    def command(self, line: str, temporary: str) -> list[str]:
        """Return the program that runs a shell's command line in the sandbox."""
        if self.kind == "bubblewrap":
            return [*self._bubblewrap(temporary), SHELL, "-c", line]
        return [SHELL, "-c", line]

    def _bubblewrap(self, temporary: str) -> Iterator[str]:
        yield from ("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
        yield from ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run")
        yield from ("--ro-bind-try", NIX, NIX)
        for folder in TEMPORARY:
            yield from ("--tmpfs", folder)
        if (own := str(home())) != "/":
            yield from ("--tmpfs", own)
        for folder in self.readable:
            yield from ("--ro-bind", folder, folder)
        yield from ("--bind", self.root, self.root, "--bind", temporary, temporary)
        for place in self.protected:
            yield from ("--ro-bind", place, place)
        yield from ("--chdir", self.root)


class CommandJob(msgspec.Struct, frozen=True):
    """A shell's command line, and where it may run."""

    line: str
    sandbox: Sandbox
    temporary: str

    def program(self) -> list[str]:
        """Return the program that runs it, and nothing after it."""
        return module_command("edgeinfer.code.confined_command", msgspec.json.encode(self).decode())


def find_sandbox(root: Path) -> Sandbox:
    """Return the best that works on this machine."""
    readable = (*_readable(), *_git_folder(root))
    sandbox = Sandbox("bubblewrap", str(root), readable)
    if shutil.which("bwrap", path=search_path()) and _works(sandbox.command("exit 0", "/tmp")):
        return sandbox
    if landlock_version():
        wished = Sandbox("Landlock", str(root), readable, namespaces=True)
        if _works(CommandJob("exit 0", wished, "/tmp").program()):
            return wished
        # Landlock alone stops no connection but those by TCP, and the filter of system calls needs its library.
        return Sandbox("Landlock" if _has_filter() else "Landlock for files", str(root), readable)
    return Sandbox("none", str(root))


def command_environment(temporary: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the user's environment without what looks like a secret."""
    passed = {name: value for name, value in environ.items() if not SECRET.search(name)}
    passed = {name: value for name, value in passed.items() if name not in NOT_PASSED}
    passed = {name: value for name, value in passed.items() if not name.startswith("EDGEINFER_")}
    passed["PATH"] = search_path()
    own = {"TMPDIR": temporary, "TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat"}
    return {**passed, **own}


def _works(command: Sequence[str]) -> bool:
    """Ubuntu, for one, installs bubblewrap and forbids the namespaces that it needs."""
    try:
        # One of ours ends with the other end of its stdin, which is not to happen at once.
        with subprocess.Popen(
            command,
            env={**os.environ, "PATH": search_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                return process.wait(TIMEOUT) == 0
            finally:
                process.kill()
    except (OSError, subprocess.TimeoutExpired):
        return False


def _has_filter() -> bool:
    from edgeinfer.ipc.confinement.seccomp import SystemCallFilter

    try:
        SystemCallFilter(())
    except OSError:
        return False
    return True


def _git_folder(root: Path) -> Iterator[str]:
    """Yield where git keeps its data if that is not in the root, as for a work tree beside another one."""
    try:
        text = (root / ".git").read_text(errors="replace") if (root / ".git").is_file() else ""
    except OSError:
        return
    place = (root / text.removeprefix("gitdir:").strip()).resolve()
    yield from (
        str(folder)
        for folder in (place, *place.parents)
        if text and folder.name == ".git" and folder.is_dir()
    )


def _readable() -> Iterator[str]:
    """Yield folders that commands need, those of programs, from places that are hidden from them."""
    own = home()
    hidden = (own, *map(Path, TEMPORARY))
    search = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    environments = [folder.parent for folder in search if (folder.parent / "pyvenv.cfg").is_file()]
    for folder in (*(own / tool for tool in TOOLS), *search, *prefixes, *environments):
        if folder in (*hidden, own / ".local") or own.is_relative_to(folder):
            continue
        if any(folder.is_relative_to(place) for place in hidden) and folder.is_dir():
            yield str(folder)
