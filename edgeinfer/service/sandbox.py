"""Opens the unit's sandbox for the files that the service needs, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeinfer.errors import ServiceFailed, SettingsError
from edgeinfer.service.spec import ServiceSpec

HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""Folders that ProtectHome= hides."""

TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
"""Folders that PrivateTmp= hides."""

RUNTIME = Path("/run/edgeinfer")
"""Folder in which the service may create a socket."""


def read_by(service: ServiceSpec) -> list[Path]:
    """Return all files and folders that the service must be able to read, apart from the system's."""
    return list(dict.fromkeys((*_fixed(service), *_replaceable(service))))


def _fixed(service: ServiceSpec) -> Iterator[Path]:
    """Yield folders, and files that are only read at the start."""
    yield from service.program.folders
    yield from service.models
    for name in (service.settings.store, service.settings.peer_key_file, service.settings.mcp_servers):
        if name:
            yield Path(name).absolute()


def _replaceable(service: ServiceSpec) -> Iterator[Path]:
    """Yield files that may be replaced while the service runs."""
    settings = service.settings
    if service.config:
        yield service.config
    for name in (settings.api_key_file, settings.tls_cert, settings.tls_key):
        if name:
            yield Path(name).absolute()


def lines(service: ServiceSpec) -> list[str]:
    """Return the lines of a system unit's drop-in that open the sandbox for this service.

    Raises:
        SettingsError: the folder of the unix socket cannot be opened without opening it for everything.
    """
    paths = [*_with_targets(_fixed(service)), *map(_folder, _with_targets(_replaceable(service)))]
    hidden = [path for path in dict.fromkeys(paths) if _is_hidden(path)]
    lines = []
    if any(_below(path, HOMES) for path in hidden):
        lines.append("ProtectHome=tmpfs")
    # The daemon reports missing files better than systemd.
    lines += [f"BindReadOnlyPaths=-{bind_path(path)}" for path in hidden]
    if service.settings.uds and not service.on_demand:
        lines += _socket_folder(Path(service.settings.uds).absolute().parent)
    return lines


def _socket_folder(folder: Path) -> list[str]:
    if folder.is_relative_to(RUNTIME):
        return []
    if _is_shared(folder) or _is_hidden(folder):
        raise SettingsError(
            f"the service cannot create a socket in {folder}",
            param="uds",
            hint=f"set uds to {RUNTIME}/http.sock",
        )
    return [f"ReadWritePaths=-{word(str(folder))}"]


def mounts(service: ServiceSpec) -> list[str]:
    """Return lines for [Unit], by which the models' disk is mounted first."""
    return [f"RequiresMountsFor={word(str(path))}" for path in _store(service)]


def _store(service: ServiceSpec) -> Iterable[Path]:
    if service.settings.store:
        yield Path(service.settings.store).absolute()
    folders = {path.parent for path in service.models}
    yield from sorted(folder for folder in folders if not _below(folder, service.program.folders))


def _with_targets(paths: Iterable[Path]) -> Iterable[Path]:
    """Yield each path, and its target if it is a link, so that both can be used."""
    for path in paths:
        yield path
        if (target := path.resolve()) != path:
            yield target


def _folder(path: Path) -> Path:
    """Return the path to bind for a file.

    It is the file's folder, as a bound file would stay the old one when it is replaced; but not if the folder is a
    whole home.
    """
    return path if _is_shared(path.parent) else path.parent


def _is_shared(folder: Path) -> bool:
    return folder in HOMES + TEMPORARY or folder.parent in (Path("/home"), Path("/run/user"))


def _is_hidden(path: Path) -> bool:
    return _below(path, HOMES + TEMPORARY)


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def escape(text: str) -> str:
    """Escape a value for a unit file, so that nothing in it is special to systemd."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ServiceFailed(f"{text!r} cannot be written to a unit file: it has control characters")
    return text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')


def word(text: str) -> str:
    """Quote one word of a list, or of a command line, if necessary."""
    escaped = escape(text)
    return f'"{escaped}"' if re.search(r"[\s'\";\\]", escaped) else escaped


def bind_path(path: Path) -> str:
    """Quote a path for BindPaths=, where a colon separates source and destination."""
    return word(str(path)).replace(":", "\\:")
