"""Compiles a grammar and its sources into llguidance's JSON form."""

from __future__ import annotations

import json
from typing import Any

from edgeinfer.errors import GrammarTooComplex, InvalidRequest
from edgeinfer.grammar.gbnf import normalize_gbnf
from edgeinfer.grammar.json_schema.lower import lower, to_error
from edgeinfer.grammar.limits import MAX_COMPILED_BYTES
from edgeinfer.grammar.matcher import find_dead_end, gbnf_to_lark, validation_error
from edgeinfer.grammar.regex import UnsupportedRegex, translate_regex
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource


def to_llguidance(grammar: Grammar) -> CompiledGrammar:
    """Compile a grammar. Raises InvalidRequest or a subclass, with `param`."""
    entries = [{"name": "main", "lark_grammar": grammar.lark}]
    unenforced = {}
    param = None
    try:
        for source in grammar.sources:
            param = source.param
            entry, pointers = compile_source(source)
            entries.append({"name": source.name, **entry})
            if pointers:
                unenforced[source.name] = pointers
        text = json.dumps({"grammars": entries}, ensure_ascii=False)
        if len(text) > MAX_COMPILED_BYTES:
            raise GrammarTooComplex(f"the compiled grammar exceeds {MAX_COMPILED_BYTES >> 20} MiB")
        if message := validation_error(entries):
            raise to_error(message)
    except InvalidRequest as e:
        e.param = e.param or param
        raise
    return CompiledGrammar(text, unenforced)


def compile_source(source: GrammarSource) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a source as an entry of llguidance's `grammars`, and JSON pointers of what it does not enforce."""
    content = json.loads(source.content)
    if source.kind == "json_schema":
        return lower(content)
    if source.kind == "regex":
        lark = regex_to_lark(content)
    elif source.kind == "choice":
        lark = choices_to_lark(content)
    elif source.kind == "gbnf":
        lark = normalized_gbnf_to_lark(content)
    else:
        lark = content
    if not isinstance(lark, str):
        raise InvalidRequest("a grammar must be a string")
    entry = {"lark_grammar": lark}
    if message := find_dead_end({"name": "source", **entry}):
        raise to_error(message)
    return entry, ()


def regex_to_lark(content: Any) -> str:
    if not isinstance(content, str):
        raise InvalidRequest("a regular expression must be a string")
    try:
        return f"start: /{translate_regex(content).replace('/', chr(92) + '/')}/"
    except UnsupportedRegex as e:
        raise InvalidRequest(f"the regular expression contains {e}, which is not supported") from e


def choices_to_lark(content: Any) -> str:
    if not isinstance(content, list) or not content or not all(isinstance(text, str) for text in content):
        raise InvalidRequest("choices must be a non-empty list of strings")
    return "start: CHOICE\nCHOICE: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in content)


def normalized_gbnf_to_lark(content: Any) -> str:
    if not isinstance(content, str):
        raise InvalidRequest("a grammar must be a string")
    try:
        return str(gbnf_to_lark(normalize_gbnf(content)))
    except InvalidRequest:
        raise
    except Exception as e:  # llguidance's converter raises Exception itself
        raise InvalidRequest(f"the grammar is not valid GBNF: {e}") from e
