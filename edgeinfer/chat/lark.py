"""Writing llguidance's Lark: literals, and the text that a free answer is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

META = re.compile(r"[\\.+*?()|\[\]{}^$#&~/-]")

ANY = r"(.|\n)*"


def literal(text: str) -> str:
    """A string; nothing at all for an empty one."""
    return json.dumps(text, ensure_ascii=False) if text else ""


def one_of(texts: Iterable[str]) -> str:
    """Any of some strings, in brackets."""
    return "(" + " | ".join(map(literal, texts)) + ")"


def pattern(text: str) -> str:
    """The text in a regular expression."""
    return META.sub(r"\\\g<0>", text).replace("\n", r"\n")


def without(*patterns: str) -> str:
    """What to put behind a terminal, so that it matches no text which one of the patterns describes as a whole."""
    return "".join(f" & ~/{text}/" for text in patterns)


def starting(texts: Iterable[str]) -> str:
    """A pattern for text that begins with one of these, white space aside."""
    return rf"\s*({'|'.join(map(pattern, texts))}){ANY}"
