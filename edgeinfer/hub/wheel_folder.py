"""Lists the wheels of a folder that a mirror serves to pip, and says which it leaves out and why."""

from __future__ import annotations

import hashlib
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import msgspec
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

CHUNK = 1 << 20
MAX_METADATA_BYTES = 1 << 20

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
"""What reading a damaged archive raises."""

ONE_MACHINE = "linux_"
"""Begins the platform of a wheel that makes no promise about other machines (PEP 600). A llama.cpp of that kind has
the instructions of the CPU that built it, and ends with SIGILL on others."""


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that is served.

    Attributes:
        project: normalized name, as in the index (PEP 503).
        metadata: of the package: pip reads it before it downloads the wheel (PEP 658).
        requires_python: as in the metadata.
        identity: device, inode, size and times of the file; another file has another one.
    """

    path: Path
    project: str
    version: str
    size: int
    sha256: str
    metadata: bytes
    requires_python: str | None
    identity: tuple[int, ...]

    @property
    def metadata_sha256(self) -> str:
        return hashlib.sha256(self.metadata).hexdigest()


class LeftOut(msgspec.Struct, frozen=True):
    """A file that is not served, with the reason."""

    path: Path
    reason: str
    one_machine: bool = False


class WheelFolder:
    """The wheels in `folder`, which may change at any time: what has changed is read again.

    `same_cpu` also lists wheels that were built for one kind of machine.
    """

    def __init__(self, folder: Path, *, same_cpu: bool = False) -> None:
        self.folder = folder
        self._same_cpu = same_cpu
        self._seen: Mapping[Path, tuple[tuple[int, ...], Wheel | LeftOut]] = MappingProxyType({})

    def wheels(self) -> dict[str, Wheel]:
        """Return the wheels that are served, by the names of their files."""
        return {wheel.path.name: wheel for wheel in self._read_all() if isinstance(wheel, Wheel)}

    def left_out(self) -> list[LeftOut]:
        """Return the wheels that are not served."""
        return [wheel for wheel in self._read_all() if isinstance(wheel, LeftOut)]

    def projects(self) -> dict[str, list[Wheel]]:
        """Return the wheels that are served, by project, both in order."""
        projects: dict[str, list[Wheel]] = {}
        for wheel in sorted(self.wheels().values(), key=lambda wheel: (wheel.project, wheel.path.name)):
            projects.setdefault(wheel.project, []).append(wheel)
        return projects

    def _read_all(self) -> Iterator[Wheel | LeftOut]:
        """Read the folder; only files that are new or have changed are opened."""
        known, now = self._seen, {}
        for path in _wheel_files(self.folder):
            try:
                identity = _identity(path.lstat())
            except OSError:  # it has just been removed
                continue
            entry = known.get(path)
            if entry is None or entry[0] != identity:
                entry = identity, _read(path, same_cpu=self._same_cpu)
            now[path] = entry
        self._seen = now
        return (wheel for _, wheel in now.values())


def open_wheel(wheel: Wheel) -> BinaryIO:
    """Open the file of a wheel.

    Raises:
        OSError: it cannot be opened, or is another file by now.
    """
    file = _open(wheel.path)
    if _identity(os.fstat(file.fileno())) != wheel.identity:
        file.close()
        raise OSError(f"{wheel.path} has changed")
    return file


def _wheel_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".whl")
    except OSError:
        return []


def _open(path: Path) -> BinaryIO:
    """Open a plain file: a link is not followed, a pipe not waited for."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(f"{path} is not a file")
    return os.fdopen(fd, "rb")


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _read(path: Path, *, same_cpu: bool) -> Wheel | LeftOut:
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        return LeftOut(path, "it is not called as a wheel is")
    if not path.name.isascii() or not path.name.isprintable():  # a tag may be anything
        return LeftOut(path, "its name has characters that no wheel's has")
    if not same_cpu and any(tag.platform.startswith(ONE_MACHINE) for tag in tags):
        return LeftOut(path, "it was built for one machine's CPU", one_machine=True)
    try:
        with _open(path) as file:
            identity = _identity(os.fstat(file.fileno()))
            metadata = _metadata(file, name, str(version))
            sha256 = _sha256(file)
    except UNREADABLE as e:
        return LeftOut(path, f"it cannot be read: {str(e) or type(e).__name__}")
    requires_python = _headers(metadata)["Requires-Python"]
    return Wheel(path, name, str(version), identity[2], sha256, metadata, requires_python, identity)


def _metadata(file: BinaryIO, project: str, version: str) -> bytes:
    """Return the METADATA of a wheel; raise ValueError if there is none, or that of another project."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            folder, _, rest = info.filename.partition("/")
            if rest == "METADATA" and folder.endswith(".dist-info"):
                if info.file_size > MAX_METADATA_BYTES:
                    raise ValueError("its metadata is too long")
                metadata = archive.read(info)
                if canonicalize_name(_headers(metadata)["Name"] or "") != project:
                    raise ValueError(f"its metadata is not of {project} {version}")
                return metadata
    raise ValueError("it has no metadata")


def _headers(metadata: bytes) -> Message:
    return HeaderParser().parsestr(metadata.decode("utf-8", "replace"))


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(CHUNK):
        digest.update(piece)
    return digest.hexdigest()
