"""Regular expressions: from ECMA-262 or Python, as callers write them, to the Rust kind that llguidance reads.

Where the dialects disagree about a character class, the translation matches what all of them match. No class
contains NUL: in a JSON string llguidance takes a class with all control characters for one that contains the
quote and the backslash as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

WORD, DIGIT, SPACE = "0-9A-Za-z_", "0-9", r" \t\n\r\x0b\x0c"
NARROW = {"w": WORD, "d": DIGIT, "s": SPACE}
"""What all dialects agree on."""
WIDE = {"w": r"\p{L}\p{M}\p{N}\p{Pc}", "d": r"\p{Nd}", "s": r"\s\x1c-\x1f\x{feff}"}
"""What any dialect may mean."""
ANY = r"\x01-\x{10ffff}"
CONTROL = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\x0c", "v": r"\x0b", "a": r"\x07", "0": r"\x01"}

QUANTIFIER = re.compile(r"\{(\d*)(,?)(\d*)\}")
LOOKAHEAD = re.compile(r"\^?\(\?=")
HEX = re.compile(r"x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}")
LOW = re.compile(r"\\u([Dd][C-Fc-f][0-9A-Fa-f]{2})")
FLAGS = re.compile(r"\(\?(?!i?:|i\)|P?<\w)")
MAX_REPEAT = 10_000


class Untranslatable(ValueError):
    """The expression uses what no finite automaton does, or is none. The message says which."""


def translate(source: str) -> str:
    """Raises Untranslatable."""
    return "".join(_Scanner(source).pieces())


def conjuncts(source: str) -> list[str]:
    """Expressions that a text matches all of exactly if it matches `source`.

    One, or more where it begins with lookaheads, as rules for passwords do: `^(?=.*[0-9])(?=.*[a-z]).{8,}$`.
    """
    found = []
    rest = source
    while (opening := LOOKAHEAD.match(rest)) and source.startswith("^"):
        end = _closing(rest, opening.end() - 3)
        found.append(f"^(?:{rest[opening.end() : end]})")
        rest = rest[end + 1 :]
    if not found:
        return [source]
    if "|" in _outside_groups(rest):
        raise Untranslatable("a lookahead beside an alternative")
    return [*found, f"^{rest}"]


def excluding(texts: Iterable[str]) -> str:
    """An expression for every text but the given ones."""
    return f"^{_other_than(set(texts))}$"


def _other_than(texts: set[str]) -> str:
    heads = sorted({text[0] for text in texts if text})
    options = [] if "" in texts else [""]
    options.append(f"[^{''.join(map(_literal, heads))}\\x00][{ANY}]*" if heads else f"[{ANY}]+")
    options += [
        _literal(head) + _other_than({text[1:] for text in texts if text[:1] == head}) for head in heads
    ]
    return f"(?:{'|'.join(options)})"


def literal(text: str) -> str:
    """An expression for this text alone."""
    return "".join(map(_literal, text))


def _literal(character: str) -> str:
    plain = character.isascii() and character.isalnum()
    return character if plain or character in " _" else f"\\x{{{ord(character):x}}}"


def _closing(source: str, start: int) -> int:
    """Where the group that opens at `start` closes."""
    depth = 0
    for index, character in _syntax(source, start):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return index
    raise Untranslatable("an unclosed group")


def _outside_groups(source: str) -> str:
    depth, outside = 0, ""
    for _, character in _syntax(source, 0):
        depth += {"(": 1, ")": -1}.get(character, 0)
        outside += character if depth == 0 else ""
    return outside


def _syntax(source: str, start: int) -> Iterator[tuple[int, str]]:
    """The characters that are neither escaped nor in a class."""
    index, bracket = start, -1
    while index < len(source):
        character = source[index]
        if character == "\\":
            index += 1
        elif bracket >= 0:
            if character == "]" and index > bracket + 1:
                bracket = -1
        elif character == "[":
            bracket = index + (source[index + 1 : index + 2] == "^")
        else:
            yield index, character
        index += 1


class _Scanner:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def pieces(self) -> Iterator[str]:
        while self.at < len(self.source):
            character = self.source[self.at]
            if character == "\\":
                self.at += 1
                yield self.escape()
            elif character == "[":
                self.at += 1
                yield self.bracket()
            elif character == "{":
                yield self.braces()
            elif character == "(" and self.source.startswith(("(?=", "(?!", "(?<=", "(?<!"), self.at):
                raise Untranslatable("lookaround")
            elif FLAGS.match(self.source, self.at):
                raise Untranslatable("flags other than i")
            elif character == ".":
                self.at += 1
                yield r"[^\n\x00]"
            else:
                self.at += 1
                yield character

    def braces(self) -> str:
        found = QUANTIFIER.match(self.source, self.at)
        if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
            self.at += 1
            return r"\{"
        low, high = int(found[1] or 0), int(found[3] or 0)
        if max(low, high) > MAX_REPEAT:
            raise Untranslatable(f"a repetition of more than {MAX_REPEAT}")
        if found[3] and high < low:
            raise Untranslatable("a repetition whose maximum is below its minimum")
        self.at = found.end()
        return f"{{{low}{found[2]}{found[3]}}}"

    def escape(self) -> str:
        """What follows a backslash, outside of a class."""
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
            raise Untranslatable("a word boundary")
        if character in tuple("123456789k"):
            raise Untranslatable("a back-reference")
        return self.single()

    def single(self) -> str:
        """An escape that stands for one character, or a Unicode class."""
        character = self.source[self.at : self.at + 1]
        if not character:
            raise Untranslatable("a backslash at the end")
        if found := HEX.match(self.source, self.at):
            self.at = found.end()
            return self.code(int(found[1] or found[2] or found[3], 16))
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
        return CONTROL.get(character) or _literal(character)

    def code(self, code: int) -> str:
        if 0xD800 <= code < 0xDC00 and (low := LOW.match(self.source, self.at)):
            self.at = low.end()
            code = 0x10000 + ((code - 0xD800) << 10) + int(low[1], 16) - 0xDC00
        if 0xD800 <= code < 0xE000:
            raise Untranslatable("half a surrogate pair")
        return f"\\x{{{code or 1:x}}}"

    def bracket(self) -> str:
        """A class; `at` is behind its opening bracket."""
        negated = self.source.startswith("^", self.at)
        self.at += negated
        classes: set[str] = set()
        pieces: list[str] = []
        while True:
            character = self.source[self.at : self.at + 1]
            if not character:
                raise Untranslatable("an unclosed class")
            if character == "]" and (pieces or classes):
                break
            self.at += 1
            if character == "\\":
                following = self.source[self.at : self.at + 1]
                if following in tuple("wdsWDS"):
                    self.at += 1
                    classes.add(following)
                    if self.source[self.at : self.at + 1] == "-" and self.source[self.at + 1 :][:1] != "]":
                        self.at += 1
                        pieces.append(r"\-")
                elif following == "b":
                    self.at += 1
                    pieces.append(r"\x08")
                else:
                    pieces.append(self.single())
            else:
                pieces.append(character if character == "-" else _literal(character))
        self.at += 1
        if any(name.swapcase() in classes for name in classes):
            return r"[^\x00-\x{10ffff}]" if negated else f"[{ANY}]"
        start = r"[^\x00" if negated else "["
        return f"{start}{_dashes(pieces)}{''.join(_class(name, negated) for name in sorted(classes))}]"


def _dashes(pieces: list[str]) -> str:
    """With a dash escaped where it makes no range."""
    last = len(pieces) - 1
    return "".join(r"\-" if p == "-" and i in (0, last) else p for i, p in enumerate(pieces))


def _class(name: str, negated: bool) -> str:
    """Within a class. In a negated one the wider reading is the one that matches less."""
    lower = name.lower()
    if name == lower:
        return WIDE[lower] if negated else NARROW[lower]
    return f"[^{NARROW[lower]}]" if negated else f"[^{WIDE[lower]}\\x00]"
