"""The file of MCP servers, in the form that many programs read: {"mcpServers": {NAME: …}}."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from edgeinfer.errors import SettingsError
from edgeinfer.user_folders import config_folder, home

MAX_FILE = 1 << 20
"""Bytes."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}")

VARIABLE = re.compile(r"\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}]*)?\}")
"""${NAME}, ${env:NAME} or ${NAME:-default}."""

HTTP_TYPES = frozenset({"http", "streamable-http", "streamable_http", "streamableHttp"})

EXAMPLE = '{"mcpServers": {"NAME": {"command": "PROGRAM", "args": []}}}, or "url" instead of "command"'


class McpServerConfig(msgspec.Struct, frozen=True):
    """One server: a program that speaks MCP on stdin and stdout, or an address of streamable HTTP.

    Attributes:
        command, args, env, cwd: the program. It gets few of our variables, and those in `env`.
        url, headers: the address, and what each request carries.
        type: how it speaks; it follows from the other fields.
        disabled: it is not used.
        timeout_ms: milliseconds that its start, and each call, may take.
    """

    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}
    type: str | None = None
    disabled: bool = False
    timeout_ms: float | None = None
    name: str = ""

    @property
    def transport(self) -> Literal["stdio", "http"]:
        return "http" if self.url else "stdio"

    @property
    def prefix(self) -> str:
        """What the names of its tools begin with."""
        return re.sub(r"[^A-Za-z0-9_-]", "_", self.name)


class McpConfig(msgspec.Struct, frozen=True):
    """The servers of a file that are in use, and what there is to say about the file."""

    path: Path
    servers: tuple[McpServerConfig, ...] = ()
    remarks: tuple[str, ...] = ()


def user_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the user's own file, which need not exist."""
    return config_folder(environ) / "mcp.json"


def read_config(path: Path) -> McpConfig:
    """Read a file of servers. Raises SettingsError, which names the field."""
    return parse_config(path, read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Read a file that may be anybody's: a regular one of limited size. Raises SettingsError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SettingsError(f"{path}: it is not a file")
            content = file.read(MAX_FILE + 1)
    except OSError as e:
        raise SettingsError(f"{path}: {e.strerror}") from e
    if len(content) > MAX_FILE:
        raise SettingsError(f"{path}: it is larger than {MAX_FILE >> 20} MiB")
    return content


def parse_config(path: Path, content: bytes) -> McpConfig:
    """Read the content of a file; `path` is for errors, and for relative folders. Raises SettingsError."""
    entries = _entries(path, content)
    servers, remarks = [], []
    prefixes: dict[str, str] = {}
    for name, entry in entries.items():
        server, unknown = _server(path, name, entry)
        if unknown:
            remarks.append(f"{path}: {name}: ignored: {', '.join(unknown)}")
        if server.disabled:
            continue
        if other := prefixes.get(server.prefix):
            raise SettingsError(
                f"{path}: the tools of {other!r} and {name!r} would both begin with {server.prefix}_",
                hint="rename one of them",
            )
        prefixes[server.prefix] = name
        servers.append(server)
    return McpConfig(path, tuple(servers), tuple(remarks))


def _entries(path: Path, content: bytes) -> dict[str, Any]:
    hint = f"write {EXAMPLE}"
    try:
        document = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError) as e:
        raise SettingsError(f"{path}: it is not JSON: {e}", hint=hint) from e
    entries = document.get("mcpServers") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise SettingsError(f"{path}: it has no object mcpServers", param="mcpServers", hint=hint)
    return entries


def _server(path: Path, name: str, entry: Any) -> tuple[McpServerConfig, list[str]]:
    """Return a server, and the fields that mean nothing to us."""
    where = f"{path}: mcpServers.{name}"
    if not NAME.fullmatch(name):
        raise SettingsError(
            f"{path}: {name!a} is no name for a server",
            param="mcpServers",
            hint="a name has up to 64 letters, digits, spaces, dots, dashes and underscores",
        )
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: it is not an object", hint=f"write {EXAMPLE}")
    known = set(McpServerConfig.__struct_fields__) - {"name"}
    fields = {key: value for key, value in entry.items() if key in known}
    try:
        server = msgspec.convert({**fields, "name": name}, McpServerConfig)
    except msgspec.ValidationError as e:
        raise SettingsError(f"{where}: {e}") from e
    if problem := _problem(server):
        raise SettingsError(f"{where}: {problem}", hint=f"write {EXAMPLE}")
    if server.cwd is not None:
        folder = path.parent / Path(
            server.cwd.replace("~", str(home()), 1) if server.cwd[:1] == "~" else server.cwd
        )
        server = msgspec.structs.replace(server, cwd=str(folder))
    return server, sorted(entry.keys() - known)


def _problem(server: McpServerConfig) -> str | None:
    """Say what is wrong with a server, if something is."""
    if bool(server.command) == bool(server.url):
        return "it needs either a command or a url"
    if server.type == "sse":
        return "type: servers of the old HTTP+SSE transport are not supported; many have a newer address that ends in /mcp"
    if server.type not in (None, *(HTTP_TYPES if server.url else ("stdio",))):
        return f"type: {server.type!r} does not go with {'url' if server.url else 'command'}"
    if server.url and (problem := _url_problem(server.url)):
        return f"url: {problem}"
    if server.timeout_ms is not None and not 0 < server.timeout_ms <= 3_600_000:
        return "timeout_ms: it is between 1 and 3600000"
    texts = [server.command or "", *server.args, *server.env, *server.env.values(), server.cwd or ""]
    if any("\0" in text for text in texts):
        return "a text has a zero byte"
    return None


def _url_problem(url: str) -> str | None:
    if "${" in url:  # which is known when it is used
        return None
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    return None if valid else f"{url!r} is not an address with http:// or https://"


def expanded(server: McpServerConfig, environ: Mapping[str, str] = os.environ) -> McpServerConfig:
    """Put the values of environment variables in. Raises SettingsError if one is not set."""

    def put(text: str) -> str:
        return VARIABLE.sub(value, text)

    def value(match: re.Match[str]) -> str:
        default: str | None = match["default"]
        found = environ.get(match["name"]) or (default[2:] if default is not None else None)
        if found is None:
            raise SettingsError(f"the variable {match['name']} is not set", hint=f"export {match['name']}=…")
        return found

    url = put(server.url) if server.url else None
    if url and (problem := _url_problem(url)):
        raise SettingsError(f"url: {problem}")
    return msgspec.structs.replace(
        server,
        command=put(server.command) if server.command else None,
        args=[put(text) for text in server.args],
        env={name: put(text) for name, text in server.env.items()},
        cwd=put(server.cwd) if server.cwd else None,
        url=url,
        headers={name: put(text) for name, text in server.headers.items()},
    )
