"""Converts TOML tables to structs, with errors that name the file, the line and the key."""

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
"""A catalogue of a thousand models is smaller."""

HEAD = re.compile(r"\s*\[+(?P<key>[^\]]+)\]")
ASSIGNMENT = re.compile(r"\s*(?P<key>[^\s=\[#][^=]*?)\s*=")
PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^.\s"']+))\s*\.?""")


class TomlDocument:
    """A TOML file that knows the line of each of its keys."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise SettingsError if it cannot be read or is not TOML."""
        self.path = path
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise ValueError(f"the file is longer than {MAX_BYTES} bytes")
            self._text = data.decode("utf-8-sig")
            self.tables: dict[str, Any] = tomllib.loads(self._text)
        except OSError as e:
            raise SettingsError(f"{path}: {e.strerror}") from e
        except (ValueError, RecursionError) as e:
            raise SettingsError(f"{path}: {e}") from e

    def error(self, keys: tuple[str, ...], problem: str, hint: str | None = None) -> SettingsError:
        """Make an error about the value at `keys`, with the line of the nearest key that is in the file."""
        lines = _lines(self._text)
        line = next((n for i in range(len(keys), 0, -1) if (n := lines.get(keys[:i]))), None)
        where = f"{self.path}, line {line}" if line else f"{self.path}"
        return SettingsError(f"{where}: {'.'.join(keys)}: {problem}", param=keys[-1], hint=hint)

    def struct(self, cls: type[T], table: object, keys: tuple[str, ...]) -> T:
        """Convert the table at `keys` to a struct that forbids unknown fields.

        Raises:
            SettingsError: a key is unknown or missing, or a value has the wrong type.
        """
        try:
            return msgspec.convert(table, cls)
        except msgspec.ValidationError as e:
            raise self._explained(cls, table, keys, str(e)) from e

    def _explained(self, cls: type[T], table: object, keys: tuple[str, ...], problem: str) -> SettingsError:
        """Explain why a table cannot be converted, by the first of its keys that is wrong."""
        if not isinstance(table, dict):
            return self.error(keys, "is not a table")
        fields = {field.name: field for field in msgspec.structs.fields(cls)}
        for key, value in table.items():
            if key not in fields:
                return self.error((*keys, key), "unknown key", nearest_hint(key, fields))
            try:
                msgspec.convert(value, fields[key].type)
            except msgspec.ValidationError as e:
                return self.error((*keys, key), str(e))
        missing = [name for name, field in fields.items() if field.required and name not in table]
        return self.error(keys, f"{', '.join(missing)} missing" if missing else problem)


def nearest_hint(name: str, known: Iterable[str], aliases: Iterable[str] = ()) -> str:
    """Make a hint: the most similar known name or alias, or else all the names."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), [*names, *aliases], n=1)
    return f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(names)}"


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Map the keys of tables and values to their lines, as far as they begin a line."""
    head: tuple[str, ...] = ()
    lines: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if match := HEAD.match(line):
            head = _parts(match["key"])
            lines.setdefault(head, number)
        elif match := ASSIGNMENT.match(line):
            lines.setdefault((*head, *_parts(match["key"])), number)
    return lines


def _parts(key: str) -> tuple[str, ...]:
    return tuple(next(part for part in match.groups() if part is not None) for match in PART.finditer(key))
