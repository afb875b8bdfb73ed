"""Grammars as plain data: what chat and server compose, and the compiler makes one text of."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Kind = Literal["json_schema", "regex", "choice", "gbnf", "lark"]


class Part(msgspec.Struct, frozen=True):
    """A named piece that came from a caller, to be referred to as `@name` in a grammar's Lark.

    Attributes:
        name: letters, digits and underscores.
        kind: what `source` is: a JSON schema (dict or bool), a regular expression, a list of texts,
            a grammar in llama.cpp's GBNF, or one in llguidance's Lark with a `start` rule.
        source: see `kind`.
        param: the field it came from, for errors: "tools[0].function.parameters".
    """

    name: str
    kind: Kind
    source: Any
    param: str


class Grammar(msgspec.Struct, frozen=True):
    """What an answer must look like: llguidance's Lark with a `start` rule, and the parts it refers to."""

    lark: str
    parts: tuple[Part, ...] = ()


class Compiled(msgspec.Struct, frozen=True):
    """A grammar that the worker's matcher takes as it is.

    Attributes:
        text: llguidance's own JSON form: `{"grammars": [...]}`.
        unenforced: part name -> JSON pointers of what the matcher does not enforce, so that the finished
            answer must be checked against the part's schema. A part that is wholly enforced is not in it.
    """

    text: str
    unenforced: dict[str, tuple[str, ...]] = {}
