"""Writes llguidance's Lark: literals, and patterns of free text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

META = re.compile(r"[\\.+*?()|\[\]{}^$#&~/-]")

ANY = r"(.|\n)*"


def literal(text: str) -> str:
    """A string; for an empty one nothing at all."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def one_of(texts: Iterable[str]) -> str:
    """A choice of strings, in brackets."""
    return "(" + " | ".join(map(literal, texts)) + ")"


def pattern(text: str) -> str:
    """A regular expression that matches the text."""
    return META.sub(r"\\\g<0>", text).replace("\n", r"\n")


def without(*patterns: str) -> str:
    """The end of a terminal that is not to match texts which one of the patterns matches as a whole."""
    return "".join(f" & ~/{text}/" for text in patterns)


def starting(texts: Iterable[str]) -> str:
    """A pattern for text that begins with one of `texts`, apart from white space."""
    return rf"\s*({'|'.join(map(pattern, texts))}){ANY}"
