"""Grammars as plain data: built by chat and server, compiled into one text for the worker."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SourceKind = Literal["json_schema", "regex", "choice", "gbnf", "lark"]


class GrammarSource(msgspec.Struct, frozen=True):
    """A schema, regular expression or grammar from a caller, which a grammar's Lark refers to as `@name`.

    Attributes:
        name: letters, digits and underscores.
        kind: the type of `content`: a JSON schema (dict or bool), a regular expression, a list of texts,
            a grammar in llama.cpp's GBNF, or one in llguidance's Lark with a `start` rule.
        content: see `kind`.
        param: the field it came from, for error messages: "tools[0].function.parameters".
    """

    name: str
    kind: SourceKind
    content: Any
    param: str


class Grammar(msgspec.Struct, frozen=True):
    """A constraint on an answer: llguidance's Lark with a `start` rule, and the sources it refers to."""

    lark: str
    sources: tuple[GrammarSource, ...] = ()


class CompiledGrammar(msgspec.Struct, frozen=True):
    """A grammar in the form that the worker's matcher takes.

    Attributes:
        text: llguidance's own JSON form: `{"grammars": [...]}`.
        unenforced: source name -> JSON pointers of the keywords that the matcher does not enforce; the finished
            answer must be checked against that source's schema. Fully enforced sources are absent.
    """

    text: str
    unenforced: dict[str, tuple[str, ...]] = {}
