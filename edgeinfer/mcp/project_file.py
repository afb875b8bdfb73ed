"""A project's own file of MCP servers, .mcp.json: nothing in it is used before the user has agreed to its content."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from edgeinfer.code.visible import visible
from edgeinfer.errors import SettingsError
from edgeinfer.mcp.server_config import McpConfig, McpServerConfig, parse_config, read_bytes
from edgeinfer.user_folders import state_folder

NAME = ".mcp.json"

QUESTION = (
    f"The project brings these MCP servers in {NAME}. A program among them may do all that you may. Use them?"
)


class AgreedFiles:
    """Remembers contents of files that the user has agreed to, by a hash of path and content."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or state_folder() / "mcp" / "agreed"

    def has(self, path: Path, content: bytes) -> bool:
        try:
            return _hash(path, content) in self._file.read_text(encoding="utf-8").split()
        except OSError:
            return False

    def add(self, path: Path, content: bytes) -> None:
        """Remember it. Raises SettingsError if that is not possible."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(
                os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8"
            ) as file:
                file.write(_hash(path, content) + "\n")
        except OSError as e:
            raise SettingsError(f"{self._file}: {e.strerror}: the agreement cannot be remembered") from e


def project_config(
    root: Path, ask: Callable[[str, str], str], say: Callable[[str], None], agreed: AgreedFiles | None = None
) -> McpConfig | None:
    """Return the servers of the project at `root` if it brings some and the user agrees.

    The content that is shown, remembered and used is one and the same reading of the file.

    Args:
        ask: shows a question and returns one of the letters that it is given.
    """
    path, agreed = root / NAME, agreed or AgreedFiles()
    if not os.path.lexists(path):
        return None
    try:
        content = read_bytes(path)
        config = parse_config(path, content)
    except SettingsError as e:  # somebody else's mistake must not stop the conversation
        say(f"({visible(e.message)}: it is not used)")
        return None
    if not config.servers or agreed.has(path, content):
        return config
    for server in config.servers:
        for line in description(server):
            say(visible(line))
    if ask(QUESTION, "yn") != "y":
        return None
    agreed.add(path, content)
    return config


def description(server: McpServerConfig) -> list[str]:
    """Describe a server in lines: all that decides what happens when it is used."""
    lines = [f"  {server.name}: {server.url or shlex.join([server.command or '', *server.args])}"]
    lines += [f"    {name}={value}" for name, value in server.env.items()]
    lines += [f"    {name}: {value}" for name, value in server.headers.items()]
    lines += [f"    in {server.cwd}"] if server.cwd else []
    return [line.replace("\n", "\\n") for line in lines]


def _hash(path: Path, content: bytes) -> str:
    return hashlib.sha256(os.fsencode(path) + b"\0" + content).hexdigest()
