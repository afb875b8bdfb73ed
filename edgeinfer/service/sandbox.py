"""What the unit's sandbox hides, and the lines that let the service at what it needs of that, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgeinfer.errors import ServiceFailed, SettingsError
from edgeinfer.service.spec import ServiceSpec

HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
"""What ProtectHome= hides."""

TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
"""What PrivateTmp= hides."""

RUNTIME = Path("/run/edgeinfer")
"""Where the service may make a socket."""


def read_by(service: ServiceSpec) -> list[Path]:
    """All files and folders that the service must be able to read, beside those of the system."""
    return list(dict.fromkeys((*_lasting(service), *_rewritten(service))))


def _lasting(service: ServiceSpec) -> Iterator[Path]:
    """Folders, and files that are read at the start."""
    yield from service.program.folders
    yield from service.needs.models
    if service.settings.store:
        yield Path(service.settings.store).absolute()


def _rewritten(service: ServiceSpec) -> Iterator[Path]:
    """Files that others are put in the place of, while the service runs."""
    settings = service.settings
    if service.config:
        yield service.config
    for name in (settings.api_key_file, settings.tls_cert, settings.tls_key):
        if name:
            yield Path(name).absolute()


def lines(service: ServiceSpec) -> list[str]:
    """The lines of a system unit's drop-in that open the sandbox for this service.

    Raises:
        SettingsError: it can't be opened for a socket without opening it for everything.
    """
    paths = [*_with_targets(_lasting(service)), *map(_folder, _with_targets(_rewritten(service)))]
    hidden = [path for path in dict.fromkeys(paths) if _is_hidden(path)]
    found = []
    if any(_below(path, HOMES) for path in hidden):
        found.append("ProtectHome=tmpfs")
    # What is not there yet is for the daemon to complain of, which does it better.
    found += [f"BindReadOnlyPaths=-{bind_path(path)}" for path in hidden]
    if service.settings.uds and not service.on_demand:
        found += _socket_folder(Path(service.settings.uds).absolute().parent)
    return found


def _socket_folder(folder: Path) -> list[str]:
    if folder.is_relative_to(RUNTIME):
        return []
    if _is_shared(folder) or _is_hidden(folder):
        raise SettingsError(
            f"the service can't make a socket in {folder}",
            param="uds",
            hint=f"set uds to {RUNTIME}/http.sock",
        )
    return [f"ReadWritePaths=-{word(str(folder))}"]


def mounts(service: ServiceSpec) -> list[str]:
    """Lines for [Unit]: the models' disk is mounted first."""
    return [f"RequiresMountsFor={word(str(path))}" for path in _store(service)]


def _store(service: ServiceSpec) -> Iterable[Path]:
    if service.settings.store:
        yield Path(service.settings.store).absolute()
    folders = {path.parent for path in service.needs.models}
    yield from sorted(folder for folder in folders if not _below(folder, service.program.folders))


def _with_targets(paths: Iterable[Path]) -> Iterable[Path]:
    """`paths`, each with what it is a link to: both names may be used, and bound."""
    for path in paths:
        yield path
        if (target := path.resolve()) != path:
            yield target


def _folder(path: Path) -> Path:
    """What is bound for a file: its folder, since the old file would stay bound when a new one takes its place.

    Not so where the folder is all of somebody's home.
    """
    return path if _is_shared(path.parent) else path.parent


def _is_shared(folder: Path) -> bool:
    return folder in HOMES + TEMPORARY or folder.parent in (Path("/home"), Path("/run/user"))


def _is_hidden(path: Path) -> bool:
    return _below(path, HOMES + TEMPORARY)


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def escape(text: str) -> str:
    """A value as a unit file has it: nothing in it means anything to systemd."""
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ServiceFailed(f"{text!r} cannot stand in a unit file: it has control characters")
    return text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')


def word(text: str) -> str:
    """One word of a list, or of a command line."""
    found = escape(text)
    return f'"{found}"' if re.search(r"[\s'\";\\]", found) else found


def bind_path(path: Path) -> str:
    """In BindPaths= a colon parts source and destination."""
    return word(str(path)).replace(":", "\\:")
