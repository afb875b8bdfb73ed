"""Says how commands are confined here: by bubblewrap, by the kernel's Landlock, or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from edgeinfer.code.git import search_path
from edgeinfer.ipc.confinement.landlock import TCP_VERSION, landlock_version
from edgeinfer.ipc.environment import SECRET
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

NOT_PASSED = ("SSH_AUTH_SOCK", "GPG_AGENT_INFO", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY")
"""Variables by which a command would reach programs outside."""


class Sandbox(msgspec.Struct, frozen=True):
    """How a command is confined.

    Attributes:
        kind: what confines it.
        root: the only folder that it can change, but for a temporary one.
        readable: folders of the user's home, and temporary ones, that it can read.
    """

    kind: str
    root: str
    readable: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.kind == "none":
            return "without a sandbox: it can do whatever you can"
        if self.kind == "bubblewrap":
            return f"in bubblewrap: no network, and it can change only {self.root}, without .git"
        if self.kind == "Landlock":
            return f"confined by Landlock: no network, and it can change only {self.root}"
        return f"confined by Landlock: it can change only {self.root}, but use the network"

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
        if os.path.lexists(git := f"{self.root}/.git"):
            yield from ("--ro-bind", git, git)
        yield from ("--chdir", self.root)


def find_sandbox(root: Path) -> Sandbox:
    """Return the best that works on this machine."""
    readable = (*_readable(), *_git_folder(root))
    sandbox = Sandbox("bubblewrap", str(root), readable)
    if shutil.which("bwrap", path=search_path()) and _works(sandbox):
        return sandbox
    if version := landlock_version():
        # Below this version only the filter of system calls stops connections, and that needs its library.
        kind = "Landlock" if version >= TCP_VERSION or _has_filter() else "Landlock for files"
        return Sandbox(kind, str(root), readable)
    return Sandbox("none", str(root))


def command_environment(temporary: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the user's environment without what looks like a secret."""
    passed = {name: value for name, value in environ.items() if not SECRET.search(name)}
    passed = {name: value for name, value in passed.items() if name not in NOT_PASSED}
    passed = {name: value for name, value in passed.items() if not name.startswith("EDGEINFER_")}
    passed["PATH"] = search_path()
    own = {"TMPDIR": temporary, "TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat"}
    return {**passed, **own}


def _works(sandbox: Sandbox) -> bool:
    """Ubuntu, for one, installs bubblewrap and forbids the namespaces that it needs."""
    try:
        done = subprocess.run(
            sandbox.command("exit 0", "/tmp"),
            env={"PATH": search_path()},
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


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
