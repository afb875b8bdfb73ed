"""What a template's `enable_thinking` is where a request does not set it.

llama-server and Ollama let a model think unless told otherwise; vLLM and Transformers leave it to the template. Most
templates say what they do without it, and that is what their makers want. Some do not, and close the thoughts of a
model that always thinks: they were written for servers that set it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CLOSES_UNLESS_SET = re.compile(r"\bnot\s+enable_thinking\b(?!\s*(?:\||is\b))")
_KNOWS_UNSET = re.compile(r"\benable_thinking\s*(?:\||is\b)|\bset\s+enable_thinking\b")


def default_variables(source: str) -> Mapping[str, bool]:
    """The variables that a template is given unless a request sets them."""
    if _CLOSES_UNLESS_SET.search(source) and not _KNOWS_UNSET.search(source):
        return {"enable_thinking": True}
    return {}
