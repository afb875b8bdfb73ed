"""The grammar process answers requests, and turns failures into replies."""

from __future__ import annotations

from typing import NoReturn

import pytest

from edgeinfer.errors import EdgeinferError, GrammarTooComplex, UnsupportedParameter
from edgeinfer.grammar.process import GrammarRequestHandler, reject_all
from edgeinfer.grammar.protocol import GrammarRequest
from edgeinfer.grammar.source import Grammar, GrammarSource

REQUEST = GrammarRequest(1.0, Grammar("start: @s0", (GrammarSource("s0", "json_schema", "{}", "field"),)))


def test_missing_library_is_named() -> None:
    """Some platforms have no wheel of llguidance; there every request is answered with an error."""
    reply = reject_all(ImportError("No module named 'llguidance'"))(GrammarRequest(1.0))
    assert reply.error is not None
    assert UnsupportedParameter.code == reply.error.code
    assert "llguidance" in reply.error.message


@pytest.mark.parametrize(
    ("error", "code", "param"),
    [
        (RecursionError(), GrammarTooComplex.code, "field"),
        (MemoryError(), GrammarTooComplex.code, "field"),
        (KeyError("bug"), EdgeinferError.code, None),
    ],
)
def test_exceptions_become_replies(
    error: Exception, code: str, param: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exhausted limits are the request's fault; any other exception is ours, and its traceback is logged."""

    def fail(*_: object) -> NoReturn:
        raise error

    reply = GrammarRequestHandler(fail, fail).handle(REQUEST)
    assert reply.error is not None
    assert (code, param) == (reply.error.code, reply.error.param)
    assert ("Traceback" in capsys.readouterr().err) == (code == EdgeinferError.code)
