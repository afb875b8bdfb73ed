"""The configuration file as an installation leaves it: keys of ours set, everything else as the user wrote it."""

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
"""None: the key is taken out."""

_HEAD = (
    "# Settings of edgeinfer; docs/configuration.md lists them all. What is typed or in EDGEINFER_* wins.\n"
)


def updated(text: str, values: Mapping[str, Value]) -> str:
    """`text` (TOML) with the top-level keys of `values` set.

    A key that is there keeps its place and the comment behind it; a new one goes to the end, as the file
    has no tables.

    Raises:
        SettingsError: `text` is no TOML.
    """
    _parse(text)
    # Not splitlines(): a value may hold what Python takes for the end of a line, and TOML does not.
    lines = (text or _HEAD).removesuffix("\n").split("\n")
    for key, value in values.items():
        said = f"{key} = {_toml(value)}"
        at = next(
            (i for i, line in enumerate(lines) if re.match(rf'\s*"?{re.escape(key)}"?\s*=', line)), None
        )
        if value is None:
            lines = [line for i, line in enumerate(lines) if i != at]
        elif at is None:
            lines.append(said)
        else:
            lines[at] = said + _comment(lines[at])
    result = "\n".join(lines) + "\n"
    found = _parse(result)
    if any(found.get(key) != value for key, value in values.items()):
        raise SettingsError(
            "the configuration file is written in a way that can't be changed line by line",
            hint=f"set these by hand: {', '.join(values)}",
        )
    return result


def _parse(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise SettingsError(f"the configuration file is no TOML: {e}", hint="mend it, or move it away") from e


def _toml(value: Value) -> str:
    """A JSON scalar is a TOML one, once JSON leaves no control character and no surrogate pair."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def _comment(line: str) -> str:
    """What stands behind the value of a line, with the space before it."""
    for at in (i for i, letter in enumerate(line) if letter == "#"):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            tomllib.loads(line[:at])
            return line[len(line[:at].rstrip()) :]
    return ""
