"""Sets keys in the configuration file, and leaves everything else as the user wrote it."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Mapping

from edgeinfer.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Value = str | int | float | bool | None
"""None removes the key."""

_HEAD = "# Settings of edgeinfer, listed in docs/configuration.md. Options and EDGEINFER_* variables take precedence.\n"


def updated(text: str, values: Mapping[str, Value]) -> str:
    """Return `text` (TOML) with the top-level keys of `values` set.

    An existing key keeps its line and the comment after it; a new one goes before the first table.

    Raises:
        SettingsError: `text` is not TOML, or cannot be changed line by line.
    """
    _parse(text)
    # Not splitlines(): a value may contain characters that end a line for Python but not for TOML.
    lines = (text or _HEAD).removesuffix("\n").split("\n")
    end = _first_table(lines)
    top, tables = lines[:end], lines[end:]
    for key, value in values.items():
        assignment = f"{key} = {_toml(value)}"
        index = next(
            (i for i, line in enumerate(top) if re.match(rf'\s*"?{re.escape(key)}"?\s*=', line)), None
        )
        if value is None:
            top = [line for i, line in enumerate(top) if i != index]
        elif index is None:
            top.insert(_last_value(top) if tables else len(top), assignment)
        else:
            top[index] = assignment + _comment(top[index])
    result = "\n".join(top + tables) + "\n"
    parsed = _parse(result)
    if any(parsed.get(key) != value for key, value in values.items()):
        raise SettingsError(
            "the configuration file cannot be changed line by line",
            hint=f"set these by hand: {', '.join(values)}",
        )
    return result


def _first_table(lines: list[str]) -> int:
    """Return the number of lines before the first table."""
    for index, line in enumerate(lines):
        if line.lstrip().startswith("["):
            with contextlib.suppress(tomllib.TOMLDecodeError):  # within a value of several lines
                tomllib.loads("\n".join(lines[:index]))
                return index
    return len(lines)


def _last_value(lines: list[str]) -> int:
    """Return the number of lines up to the last one with a value; all if there is none."""
    for index in range(len(lines), 0, -1):
        if lines[index - 1].strip() and not lines[index - 1].lstrip().startswith("#"):
            return index
    return len(lines)


def _parse(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(
            f"the configuration file is not valid TOML: {e}", hint="fix it, or move it away"
        ) from e


def _toml(value: Value) -> str:
    """Format a value. A JSON scalar is valid TOML if it has no control characters and no surrogate pairs."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _comment(line: str) -> str:
    """Return the comment of a line, with the space before it."""
    for index in (i for i, letter in enumerate(line) if letter == "#"):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads(line[:index])
            return line[len(line[:index].rstrip()) :]
    return ""
