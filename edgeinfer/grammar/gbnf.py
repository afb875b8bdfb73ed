r"""Rewrites llama.cpp's GBNF to the subset that llguidance's converter reads as llama.cpp does.

The converter passes escapes and character classes on to languages that read some of them differently: `\u0041`
as an error, `--` and `&&` in a class as operators, and a dot as any character but a newline.
"""

from __future__ import annotations

import re

from edgeinfer.errors import InvalidRequest

TOKEN = re.compile(r'#[^\r\n]*|"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|.', re.DOTALL)
CHAR = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|(.)", re.DOTALL)
MEMBERS = re.compile(rf"(?P<low>{CHAR.pattern})(?:-(?P<high>{CHAR.pattern}))?", re.DOTALL)
NAMED_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"} | {char: char for char in '"\\[]'}


def normalize_gbnf(source: str) -> str:
    """Rewrite literals and classes with plain characters and hex escapes. Raises InvalidRequest for a bad escape."""
    return TOKEN.sub(lambda token: _normalize_token(token[0]), source)


def _normalize_token(token: str) -> str:
    if token == ".":
        return f"[\\x00-{chr(0x10FFFF)}]"
    if token[0] == '"' and len(token) > 1:
        return f'"{CHAR.sub(lambda match: _escape(_decode(match)), token[1:-1])}"'
    if token[0] == "[" and len(token) > 1:
        negated = token.startswith("[^")
        members = token[2:-1] if negated else token[1:-1]
        return f"[{'^' if negated else ''}{MEMBERS.sub(_normalize_member, members)}]"
    return token


def _normalize_member(member: re.Match[str]) -> str:
    ends = (member["low"], member["high"])
    chars = (CHAR.fullmatch(end) for end in ends if end is not None)
    return "-".join(_escape(_decode(char)) for char in chars if char)


def _decode(match: re.Match[str]) -> str:
    *codes, named, plain = match.groups()
    code = next((int(code, 16) for code in codes if code), None)
    char = plain or NAMED_ESCAPES.get(named) if code is None else chr(code) if code <= 0x10FFFF else None
    if char is None or "\ud800" <= char <= "\udfff":
        raise InvalidRequest(f"the grammar is not valid GBNF: {match[0]} is not a character")
    return char


def _escape(char: str) -> str:
    """Write a character such that strings and classes both understand it."""
    return char if char.isalnum() or ord(char) > 0x9F else f"\\x{ord(char):02x}"
