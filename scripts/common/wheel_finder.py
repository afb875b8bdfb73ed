"""Finds in a wheelhouse what scripts/setup installs: a directory of wheels, a page of links to wheels, or an index.

Usage: wheel_finder.py PLACE CACHE PINNED REQUIREMENTS...

PINNED is the requirement whose wheel goes into a directory of its own in CACHE. Prints its path, then "files" or "index",
then the names of what the files of requirements pin and PLACE lacks for this Python and machine, one a line.
Runs in a new virtual environment, where pip is the only package: its copy of `packaging` says what fits.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import urllib.error
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.tags import sys_tags
from pip._vendor.packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    parse_wheel_filename,
)
from wheel_links import Links, file_name, hide_login, read

COMPILING = ("cmake", "ninja", "scikit-build-core")
"""What only builds llama.cpp."""

TAGS = {tag: rank for rank, tag in enumerate(sys_tags())}
"""What this Python can install, the best first."""


class Wheelhouse:
    """The wheels at one place, by the path or the address of each."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.is_index = False
        self._all: list[str] = []
        if not re.match(r"https?://", place):
            self._all = [str(path) for path in sorted(Path(place).glob("*.whl"))]
            return
        self._all = Links(place).urls
        self.is_index = not any(map(file_name, self._all))

    def wheels(self, name: str) -> list[str]:
        """Return the wheels of one project."""
        files = self._all
        if self.is_index:
            page = f"{self.place.rstrip('/')}/{name}/"
            try:
                files = Links(page).urls
            except urllib.error.HTTPError as e:
                if e.code != 404:
                    raise
                return []
        return [file for file in files if project(file) == name]

    def best(self, requirement: Requirement) -> str | None:
        """Return the wheel that fits this machine best, None if none does."""
        fitting = []
        for file in self.wheels(canonicalize_name(requirement.name)):
            _, version, _, tags = parse_wheel_filename(file_name(file))
            ranks = [TAGS[tag] for tag in tags if tag in TAGS]
            if ranks and requirement.specifier.contains(version, prereleases=True):
                fitting.append((min(ranks), file))
        return min(fitting)[1] if fitting else None


def project(file: str) -> str:
    try:
        return str(parse_wheel_filename(file_name(file))[0])
    except InvalidWheelFilename:
        return ""


def keep(file: str, cache: Path, version: str) -> Path:
    """Bring a wheel into a directory of the cache that is called by its version and content.

    Raises:
        SystemExit: the content is not the one that the link promises, or no wheel.
    """
    promised = urllib.parse.parse_qs(urllib.parse.urlsplit(file).fragment).get("sha256", [""])[0]
    target = cache / f"{version}-{promised[:16]}" / file_name(file)
    if promised and target.exists():
        return target
    content = read(file) if "://" in file else Path(file).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if promised not in ("", digest):
        raise SystemExit(
            f"error: {file_name(file)} is not the file that {hide_login(file)} promises by its sha256"
        )
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise SystemExit(f"error: {hide_login(file)} is damaged or cut off\nhint: copy it there again")
    target = cache / f"{version}-{digest[:16]}" / file_name(file)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        partial.write_bytes(content)
        partial.replace(target)
    return target


def requirements(file: Path) -> Iterator[Requirement]:
    """Yield what a file of requirements pins for this Python and machine."""
    for line in file.read_text().splitlines():
        text = line.rstrip(" \\")
        if text and not text.startswith((" ", "#", "-")):
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield requirement


def main(place: str, cache: str, pinned: str, *files: str) -> None:
    shown = hide_login(place)
    first = Requirement(pinned)
    try:
        wheelhouse = Wheelhouse(place)
        best = wheelhouse.best(first)
        if best is None:
            other = [file_name(file) for file in wheelhouse.wheels(canonicalize_name(first.name))]
            has = f"only {', '.join(sorted(set(other)))}" if other else f"no wheel of {first.name}"
            best_tag = next(iter(TAGS))
            raise SystemExit(
                f"error: {shown} has {has}; this machine needs {first} for {best_tag.platform} or older"
            )
        version = str(parse_wheel_filename(file_name(best))[1])
        wheel = keep(best, Path(cache), version)
        wanted = {
            r.name: r
            for file in files
            for r in requirements(Path(file))
            if r.name not in (first.name, *COMPILING)
        }
        missing = [name for name, requirement in wanted.items() if not wheelhouse.best(requirement)]
    except (OSError, ValueError) as e:
        raise SystemExit(f"error: {shown} cannot be read: {e}") from e
    print(wheel, "index" if wheelhouse.is_index else "files", *missing, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
