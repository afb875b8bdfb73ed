"""Output to the terminal: text from a model or a server is data, never a command to the terminal."""

from __future__ import annotations

import codecs
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from edgeinfer.errors import EdgeinferError

MAX_COLUMNS = 100
"""Width beyond which lines of a report do not grow."""

MIN_LAST_COLUMN = 20

MESSAGE_COLUMNS = 80
"""Width that messages are written for."""

UNIT = re.compile(r"\s*(?:\S*edgeinfer(?: [^\s;,()]+)*[;,()]*|\S+)")
"""What stays on one line, with the spaces before it: a word, or a command that somebody may copy."""

BOLD, RED, GREEN, YELLOW, CYAN = "1", "31", "32", "33", "36"

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\u202a-\u202e\u2066-\u2069"  # these reorder what stands beside them
    "\u200b\u2028\u2029\u2060-\u2064\ufeff\U000e0000-\U000e007f]"  # and these are not seen
)
"""Characters that act on a terminal or hide text. Persian, Hebrew and emoji need U+200C to U+200F."""


def escape_control(text: str) -> str:
    r"""Spell out control characters (ESC becomes \x1b, U+202E \u202e), except newline and tab."""
    return CONTROL.sub(lambda match: _spelt(ord(match[0])), text)


def _spelt(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def can_draw(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal on which text can be changed once it is there."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def has_colours(stream: TextIO) -> bool:
    """Tell whether colours are wanted: on a terminal that has them, or where FORCE_COLOR says so.

    NO_COLOR is stronger than both: https://no-color.org
    """
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR", "0") not in ("", "0")
    return forced or can_draw(stream)


def size() -> tuple[int, int]:
    """Return the columns and rows of the terminal: what COLUMNS and LINES say, else what it says itself."""
    return shutil.get_terminal_size()


def report_width() -> int:
    """Return the columns of a report: those of the terminal, but no more than are easily read; elsewhere always 80."""
    return min(size()[0], MAX_COLUMNS) if sys.stdout.isatty() else 80


def fitted(text: str, columns: int) -> str:
    """Return a text that is no wider than that; what is left out shows as an ellipsis."""
    return text if len(text) <= columns else text[: max(columns - 1, 0)] + "…"


def write(text: str) -> None:
    """Write data to stdout: unchanged into a file or a pipe, escaped on a terminal."""
    sys.stdout.write(escape_control(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def write_styled(*parts: tuple[str, str]) -> None:
    """Write texts to stdout as `write` does, each in its style where colours are wanted."""
    coloured = has_colours(sys.stdout)
    for text, style in parts:
        shown = escape_control(text) if sys.stdout.isatty() else text
        sys.stdout.write(f"\x1b[{style}m{shown}\x1b[0m" if style and coloured and shown else shown)
    sys.stdout.flush()


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows as aligned columns, the first of them as a heading.

    On a terminal the last column is shortened to what fits, and shows that: of a path its beginning is left out.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    start = sum(widths[:-1]) + 2 * (len(widths) - 1)
    room = max(size()[0] - start, MIN_LAST_COLUMN) if sys.stdout.isatty() else None
    for number, row in enumerate(rows):
        words = [word.ljust(width) for word, width in zip(row[:-1], widths, strict=False)]
        line = "  ".join([*words, row[-1] if room is None else _shortened(row[-1], room)]).rstrip()
        write_styled((line, BOLD if number == 0 else ""), ("\n", ""))


def _shortened(text: str, columns: int) -> str:
    if len(text) > columns and text.startswith(("/", "~")):
        return "…" + text[len(text) - columns + 1 :]
    return fitted(text, columns)


def write_json(value: object) -> None:
    """Write a value to stdout as indented JSON; paths become strings."""
    import msgspec

    write(msgspec.json.format(msgspec.json.encode(value, enc_hook=_path_text)).decode() + "\n")


def _path_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"cannot write {type(value).__name__} as JSON")


def say_inline(text: str) -> None:
    """Write a message to stderr, without a newline."""
    sys.stderr.write(escape_control(text))
    sys.stderr.flush()


def say(text: str = "") -> None:
    """Write a message to stderr. On a narrow terminal its lines break between words; `say_inline` leaves them whole."""
    columns = size()[0]
    if sys.stderr.isatty() and columns < MESSAGE_COLUMNS:
        text = "\n".join(_wrapped(line, columns) for line in text.split("\n"))
    say_inline(text + "\n")


def _wrapped(line: str, columns: int) -> str:
    """Break a line between its units; one that is wider than the terminal stays whole."""
    if len(line) <= columns:
        return line
    lines = [""]
    for unit in UNIT.findall(line):
        if lines[-1] and len(lines[-1]) + len(unit) > columns:
            lines.append(unit.lstrip())
        else:
            lines[-1] += unit
    return "\n".join(lines)


def show_inline(text: str) -> None:
    """Write a message to stderr if that is a terminal, without a newline."""
    if sys.stderr.isatty():
        say_inline(text)


def show(text: str) -> None:
    """Write a message to stderr, as `say` does, if that is a terminal."""
    if text and sys.stderr.isatty():
        say(text)


def report_error(error: EdgeinferError) -> None:
    """Say what went wrong, and what to do about it."""
    from edgeinfer.cli.pasteable import pasteable

    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {pasteable(error.hint)}")


def replace_invalid(text: str) -> str:
    """Replace the bytes in typed or piped text that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def decoded(piped: bytes) -> str:
    """Decode piped text: UTF-8, or UTF-16 if it begins with the byte order mark of that."""
    utf_16 = piped.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return piped.decode("utf-16" if utf_16 else "utf-8-sig", "replace")
