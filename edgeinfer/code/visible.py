"""Spells out characters that a terminal would act on, or that nobody would see."""

from __future__ import annotations

import re
import unicodedata

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp", "Zs")
"""Unicode's categories of control and format characters, halves of characters, private ones, and blanks."""

BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Other characters that show nothing, or change how the one before them looks."""

PLAIN = re.compile(r"[\t\n\x20-\x7e]*")


def visible(text: str) -> str:
    r"""Return `text` with what hides or moves text written as \x1b or \u202e; tab and newline stay."""
    if PLAIN.fullmatch(text):
        return text
    return "".join(_spelt(letter) if _is_hidden(letter) else letter for letter in text)


def _is_hidden(letter: str) -> bool:
    if letter in " \t\n":
        return False
    return unicodedata.category(letter) in HIDDEN or BLANK.match(letter) is not None


def _spelt(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
