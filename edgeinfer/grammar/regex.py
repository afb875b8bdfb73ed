"""Translates regular expressions from ECMA-262 or Python, as callers write them, to llguidance's Rust dialect.

Where the dialects disagree about a character class, the translation matches what all of them match. No class
contains NUL: in a JSON string llguidance takes a class with all control characters for one that contains the
quote and the backslash as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

WORD, DIGIT, SPACE = "0-9A-Za-z_", "0-9", r" \t\n\r\x0b\x0c"
NARROW = {"w": WORD, "d": DIGIT, "s": SPACE}
"""Class -> the characters that it has in all dialects."""
WIDE = {"w": r"\p{L}\p{M}\p{N}\p{Pc}", "d": r"\p{Nd}", "s": r"\s\x1c-\x1f\x{feff}"}
"""Class -> the characters that it has in any dialect."""
ANY = r"\x01-\x{10ffff}"
CONTROL = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\x0c", "v": r"\x0b", "a": r"\x07", "0": r"\x01"}

QUANTIFIER = re.compile(r"\{(\d*)(,?)(\d*)\}")
HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
LOW_SURROGATE = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")
FLAGS = re.compile(r"\(\?(?!i?:|i\)|P?<\w)")
MAX_REPEAT = 10_000


class UnsupportedRegex(ValueError):
    """The expression is malformed, or needs more than a finite automaton. The message names the construct."""


def translate_regex(source: str) -> str:
    """Translate an expression. Raises UnsupportedRegex."""
    return "".join(_Translator(source).pieces())


def escape(character: str) -> str:
    """Write one character such that it means itself, in a class or outside."""
    plain = character.isascii() and character.isalnum()
    return character if plain or character in " _" else f"\\x{{{ord(character):x}}}"


class _Translator:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def pieces(self) -> Iterator[str]:
        while self.at < len(self.source):
            character = self.source[self.at]
            if character == "\\":
                self.at += 1
                yield self.escape_sequence()
            elif character == "[":
                self.at += 1
                yield self.bracket()
            elif character == "{":
                yield self.braces()
            elif character == "(" and self.source.startswith(("(?=", "(?!", "(?<=", "(?<!"), self.at):
                raise UnsupportedRegex("lookaround")
            elif FLAGS.match(self.source, self.at):
                raise UnsupportedRegex("flags other than i")
            elif character == ".":
                self.at += 1
                yield r"[^\n\x00]"
            else:
                self.at += 1
                yield character

    def braces(self) -> str:
        quantifier = QUANTIFIER.match(self.source, self.at)
        if (
            quantifier is None
            or not (quantifier[1] or quantifier[3])
            or (quantifier[3] and not quantifier[2])
        ):
            self.at += 1
            return r"\{"
        low, high = int(quantifier[1] or 0), int(quantifier[3] or 0)
        if max(low, high) > MAX_REPEAT:
            raise UnsupportedRegex(f"more than {MAX_REPEAT} repetitions")
        if quantifier[3] and high < low:
            raise UnsupportedRegex("a repetition whose maximum is below its minimum")
        self.at = quantifier.end()
        return f"{{{low}{quantifier[2]}{quantifier[3]}}}"

    def escape_sequence(self) -> str:
        """Translate what follows a backslash outside a class."""
        character = self.source[self.at : self.at + 1]
        if character in tuple("wds"):
            self.at += 1
            return f"[{NARROW[character]}]"
        if character in tuple("WDS"):
            self.at += 1
            return f"[^{WIDE[character.lower()]}\\x00]"
        if character in tuple("AZz"):
            self.at += 1
            return "^" if character == "A" else "$"
        if character in tuple("bB"):
            raise UnsupportedRegex("a word boundary")
        if character in tuple("123456789k"):
            raise UnsupportedRegex("a backreference")
        return self.single()

    def single(self) -> str:
        """Translate an escape that means one character or a Unicode class."""
        character = self.source[self.at : self.at + 1]
        if not character:
            raise UnsupportedRegex("a backslash at the end")
        if code := HEX.match(self.source, self.at):
            self.at = code.end()
            return self.code_point(int(code[1] or code[2] or code[3], 16))
        self.at += 1
        if character == "c" and self.source[self.at : self.at + 1].isalpha():
            self.at += 1
            return f"\\x{{{ord(self.source[self.at - 1]) % 32:x}}}"
        if character in tuple("pP"):
            end = self.source.find("}", self.at)
            if self.source[self.at : self.at + 1] != "{" or end < 0:
                return character
            self.at, start = end + 1, self.at
            return f"[\\{character}{self.source[start : end + 1]}&&[^\\x00]]"
        return CONTROL.get(character) or escape(character)

    def code_point(self, code: int) -> str:
        if 0xD800 <= code < 0xDC00 and (low := LOW_SURROGATE.match(self.source, self.at)):
            self.at = low.end()
            code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if 0xD800 <= code < 0xE000:
            raise UnsupportedRegex("a lone surrogate")
        return f"\\x{{{code or 1:x}}}"

    def bracket(self) -> str:
        """Translate a class; `at` is after its opening bracket."""
        negated = self.source.startswith("^", self.at)
        self.at += negated
        classes: set[str] = set()
        members: list[str] = []
        while True:
            character = self.source[self.at : self.at + 1]
            if not character:
                raise UnsupportedRegex("an unterminated character class")
            if character == "]" and (members or classes):
                break
            self.at += 1
            if character == "\\":
                following = self.source[self.at : self.at + 1]
                if following in tuple("wdsWDS"):
                    self.at += 1
                    classes.add(following)
                    if self.source[self.at : self.at + 1] == "-" and self.source[self.at + 1 :][:1] != "]":
                        self.at += 1
                        members.append(r"\-")
                elif following == "b":
                    self.at += 1
                    members.append(r"\x08")
                else:
                    members.append(self.single())
            else:
                members.append(character if character == "-" else escape(character))
        self.at += 1
        if any(name.swapcase() in classes for name in classes):
            return r"[^\x00-\x{10ffff}]" if negated else f"[{ANY}]"
        start = r"[^\x00" if negated else "["
        nested = "".join(_nested_class(name, negated) for name in sorted(classes))
        return f"{start}{_escape_dashes(members)}{nested}]"


def _escape_dashes(members: list[str]) -> str:
    """Join members, and escape each dash that does not form a range."""
    last = len(members) - 1
    return "".join(r"\-" if m == "-" and i in (0, last) else m for i, m in enumerate(members))


def _nested_class(name: str, negated: bool) -> str:
    """Translate a class within a class; in a negated one the wider reading is the one that matches less."""
    lower = name.lower()
    if name == lower:
        return WIDE[lower] if negated else NARROW[lower]
    return f"[^{NARROW[lower]}]" if negated else f"[^{WIDE[lower]}\\x00]"
