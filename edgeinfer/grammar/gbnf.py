r"""llama.cpp's GBNF, written in the part of it that llguidance's converter reads as llama.cpp does.

The converter hands escapes and character classes on to languages that read some of them otherwise: `\u0041`
as an error, `--` and `&&` in a class as operators, and a dot as anything but a new line.
"""

from __future__ import annotations

import re

from edgeinfer.errors import InvalidRequest

TOKEN = re.compile(r'#[^\r\n]*|"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|.', re.DOTALL)
CHAR = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|(.)", re.DOTALL)
MEMBERS = re.compile(rf"(?P<low>{CHAR.pattern})(?:-(?P<high>{CHAR.pattern}))?", re.DOTALL)
NAMED = {"n": "\n", "r": "\r", "t": "\t"} | {char: char for char in '"\\[]'}


def normal(source: str) -> str:
    """The grammar with plain literals and classes. Raises InvalidRequest for an escape that is none."""
    return TOKEN.sub(lambda token: _normal(token[0]), source)


def _normal(token: str) -> str:
    if token == ".":
        return f"[\\x00-{chr(0x10FFFF)}]"
    if token[0] == '"' and len(token) > 1:
        return f'"{CHAR.sub(lambda found: _written(_char(found)), token[1:-1])}"'
    if token[0] == "[" and len(token) > 1:
        negated = token.startswith("[^")
        members = token[2:-1] if negated else token[1:-1]
        return f"[{'^' if negated else ''}{MEMBERS.sub(_member, members)}]"
    return token


def _member(found: re.Match[str]) -> str:
    ends = (found["low"], found["high"])
    chars = (CHAR.fullmatch(end) for end in ends if end is not None)
    return "-".join(_written(_char(char)) for char in chars if char)


def _char(found: re.Match[str]) -> str:
    *codes, named, plain = found.groups()
    code = next((int(code, 16) for code in codes if code), None)
    char = plain or NAMED.get(named) if code is None else chr(code) if code <= 0x10FFFF else None
    if char is None or "\ud800" <= char <= "\udfff":
        raise InvalidRequest(f"the grammar is no valid GBNF: {found[0]} is no character")
    return char


def _written(char: str) -> str:
    """As strings and classes both understand it."""
    return char if char.isalnum() or ord(char) > 0x9F else f"\\x{ord(char):02x}"
