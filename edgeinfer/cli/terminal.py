"""What a terminal may be sent: text from a model or a server is data, never a command to the terminal."""

from __future__ import annotations

import re
import sys

from edgeinfer.errors import EdgeinferError

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    r"""`text` with its control characters spelt out (ESC becomes \x1b), all but newline and tab."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def write(text: str) -> None:
    """Data for stdout: as it is into a file or a pipe, harmless on a terminal."""
    sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def tell(text: str) -> None:
    """Words for the person, on stderr."""
    sys.stderr.write(harmless(text))
    sys.stderr.flush()


def say(text: str = "") -> None:
    """A line for the person, on stderr."""
    tell(text + "\n")


def aside(text: str) -> None:
    """Words that only matter while somebody watches: nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        tell(text)


def remark(text: str) -> None:
    """A line that only matters while somebody watches."""
    aside(text + "\n" if text else "")


def report(error: EdgeinferError) -> None:
    """What went wrong, and what to do about it."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")


def valid(text: str) -> str:
    """`text` as typed or piped, with the bytes that were no UTF-8 replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
