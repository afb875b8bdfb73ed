"""TOML tables to structs, with errors that name the file, the line and the key."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgeinfer.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T", bound=msgspec.Struct)

MAX_BYTES = 1 << 20
"""Bytes of a file; a catalogue of a thousand models has less."""

HEAD = re.compile(r"\s*\[+(?P<key>[^\]]+)\]")
ASSIGNMENT = re.compile(r"\s*(?P<key>[^\s=\[#][^=]*?)\s*=")
PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.\s"']+))\s*\.?""")


class TomlDocument:
    """A TOML file: its tables, and where in it their keys stand."""

    def __init__(self, path: Path) -> None:
        """Raises SettingsError: the file can't be read, or is no TOML."""
        self.path = path
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise ValueError(f"longer than {MAX_BYTES} bytes")
            self._text = data.decode()
            self.tables: dict[str, Any] = tomllib.loads(self._text)
        except OSError as e:
            raise SettingsError(f"{path}: {e.strerror}") from e
        except (ValueError, RecursionError) as e:
            raise SettingsError(f"{path}: {e}") from e

    def error(self, keys: tuple[str, ...], problem: str, hint: str | None = None) -> SettingsError:
        """The error that `problem` is where `keys` lead to; the line is that of the nearest table found."""
        lines = _lines(self._text)
        found = next((n for i in range(len(keys), 0, -1) if (n := lines.get(keys[:i]))), None)
        where = f"{self.path}, line {found}" if found else f"{self.path}"
        return SettingsError(f"{where}: {'.'.join(keys)}: {problem}", param=keys[-1], hint=hint)

    def struct(self, cls: type[T], table: object, keys: tuple[str, ...]) -> T:
        """The table that `keys` lead to as a struct, which forbids unknown fields.

        Raises SettingsError: an unknown key, a missing one, or a value of the wrong type.
        """
        try:
            return msgspec.convert(table, cls)
        except msgspec.ValidationError as e:
            raise self._explained(cls, table, keys, str(e)) from e

    def _explained(self, cls: type[T], table: object, keys: tuple[str, ...], problem: str) -> SettingsError:
        """Why a table is no such struct, by the first of its keys that is wrong."""
        if not isinstance(table, dict):
            return self.error(keys, "is not a table")
        fields = {field.name: field for field in msgspec.structs.fields(cls)}
        for key, value in table.items():
            if key not in fields:
                return self.error((*keys, key), "no such key", nearest_hint(key, fields))
            try:
                msgspec.convert(value, fields[key].type)
            except msgspec.ValidationError as e:
                return self.error((*keys, key), str(e))
        missing = [name for name, field in fields.items() if field.required and name not in table]
        return self.error(keys, f"{', '.join(missing)} missing" if missing else problem)


def nearest_hint(name: str, known: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """A hint: the known name or alias that is most like this one, else all the names."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), [*names, *aliases], n=1)
    return f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(names)}"


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Keys -> line of each table and of each of its keys, as far as they begin a line."""
    head: tuple[str, ...] = ()
    found: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if match := HEAD.match(line):
            head = _parts(match["key"])
            found.setdefault(head, number)
        elif match := ASSIGNMENT.match(line):
            found.setdefault((*head, *_parts(match["key"])), number)
    return found


def _parts(key: str) -> tuple[str, ...]:
    return tuple(next(part for part in match.groups() if part is not None) for match in PART.finditer(key))
