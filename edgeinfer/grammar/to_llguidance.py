"""A grammar and its parts in llguidance's JSON form."""

from __future__ import annotations

import json
from typing import Any

from edgeinfer.errors import GrammarTooComplex, InvalidRequest
from edgeinfer.grammar.gbnf import normal
from edgeinfer.grammar.json_schema.lower import enforced, refused
from edgeinfer.grammar.limits import MAX_TEXT
from edgeinfer.grammar.matcher import gbnf_to_lark, refusal, stuck
from edgeinfer.grammar.regex import Untranslatable, translate
from edgeinfer.grammar.source import Compiled, Grammar, Part


def compiled(grammar: Grammar) -> Compiled:
    """Raises InvalidRequest and its kinds, with `param`."""
    pieces = [{"name": "main", "lark_grammar": grammar.lark}]
    unenforced = {}
    param = None
    try:
        for part in grammar.parts:
            param = part.param
            piece, left = translated(part)
            pieces.append({"name": part.name, **piece})
            if left:
                unenforced[part.name] = left
        text = json.dumps({"grammars": pieces}, ensure_ascii=False)
        if len(text) > MAX_TEXT:
            raise GrammarTooComplex(f"the grammar comes to more than {MAX_TEXT >> 20} MiB")
        if error := refusal(pieces):
            raise refused(error)
    except InvalidRequest as e:
        e.param = e.param or param
        raise
    return Compiled(text, unenforced)


def translated(part: Part) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A part as llguidance's grammar, and what of it is not enforced."""
    source = json.loads(part.source)
    if part.kind == "json_schema":
        return enforced(source)
    if part.kind == "regex":
        lark = regex(source)
    elif part.kind == "choice":
        lark = choice(source)
    elif part.kind == "gbnf":
        lark = gbnf(source)
    else:
        lark = source
    if not isinstance(lark, str):
        raise InvalidRequest("a grammar must be a string")
    piece = {"lark_grammar": lark}
    if error := stuck({"name": "part", **piece}):
        raise refused(error)
    return piece, ()


def regex(source: Any) -> str:
    if not isinstance(source, str):
        raise InvalidRequest("a regular expression must be a string")
    try:
        return f"start: /{translate(source).replace('/', chr(92) + '/')}/"
    except Untranslatable as e:
        raise InvalidRequest(f"the regular expression has {e}, which is not supported") from e


def choice(source: Any) -> str:
    if not isinstance(source, list) or not source or not all(isinstance(text, str) for text in source):
        raise InvalidRequest("a choice must be a list of at least one text")
    return "start: CHOICE\nCHOICE: " + " | ".join(json.dumps(text, ensure_ascii=False) for text in source)


def gbnf(source: Any) -> str:
    if not isinstance(source, str):
        raise InvalidRequest("a grammar must be a string")
    try:
        return str(gbnf_to_lark(normal(source)))
    except InvalidRequest:
        raise
    except Exception as e:  # it raises that very class
        raise InvalidRequest(f"the grammar is no valid GBNF: {e}") from e
