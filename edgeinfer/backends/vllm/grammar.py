"""Writes a compiled grammar as one text of Lark, which is the form that vLLM takes."""

from __future__ import annotations

import json
import re
from typing import Any

from edgeinfer.errors import UnsupportedParameter

OPTIONS = '%llguidance {"no_forcing": true}'
"""A text that must come next can be written with any tokens, as the model likes: a tag may be one token or several."""

TOKEN = re.compile(r'"(?:\\.|[^"\\])*"i?|/(?:\\.|[^/\\\n])+/|@([\w-]+)')
"""A string, a regular expression, or a reference to another grammar."""


def to_lark(compiled: str) -> str:
    """Inline the grammars that the first one of `compiled` refers to.

    `compiled` is llguidance's JSON: {"grammars": [{"name", "lark_grammar" or "json_schema"}, ...]}. Lark nests a
    schema as `%json {...}` and a grammar as `%lark {...}`, with the same meaning as a reference by name.

    Raises:
        UnsupportedParameter: there is something else in it, and so it could not be enforced.
    """
    main, *others = json.loads(compiled)["grammars"]
    rules = {entry["name"]: f"embedded_{at}" for at, entry in enumerate(others)}
    if set(main) - {"name"} != {"lark_grammar"}:
        raise _unsupported()
    text = TOKEN.sub(lambda match: _renamed(match, rules), main["lark_grammar"])
    return "\n".join(
        [OPTIONS, text.rstrip("\n"), *(f"{rules[e['name']]}: {_embedded(e)}" for e in others), ""]
    )


def _renamed(match: re.Match[str], rules: dict[str, str]) -> str:
    name = match[1]
    if name is None:
        return match[0]
    if name not in rules:
        raise _unsupported()
    return rules[name]


def _embedded(entry: dict[str, Any]) -> str:
    match {key: value for key, value in entry.items() if key != "name"}:
        case {"json_schema": schema, **rest} if not rest:
            return "%json " + json.dumps(schema, ensure_ascii=False)
        case {"lark_grammar": str(lark), **rest} if not rest:
            return "%lark {\n" + lark.rstrip("\n") + "\n}"
    raise _unsupported()


def _unsupported() -> UnsupportedParameter:
    return UnsupportedParameter(
        "vLLM cannot enforce the format of this answer", hint="use a model that llama.cpp serves"
    )
