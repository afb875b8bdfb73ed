"""The grammar process: compiles schemas and grammars and checks answers for the daemon that started it.

The daemon never imports this module, the only way to llguidance and jsonschema.
"""

from __future__ import annotations

import contextlib
import importlib
import resource
import traceback
from collections.abc import Callable

from edgeinfer.errors import EdgeinferError, GrammarTooComplex, UnsupportedParameter
from edgeinfer.grammar.limits import MAX_MEMORY, MAX_STACK, SIMPLIFY_HINT
from edgeinfer.grammar.protocol import GrammarReply, GrammarRequest
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource
from edgeinfer.ipc.child_main import limit_resources, serve


class GrammarRequestHandler:
    """Answers requests, and turns every exception into a reply."""

    def __init__(
        self,
        compile_grammar: Callable[[Grammar], CompiledGrammar],
        find_violation: Callable[[GrammarSource, str], str | None],
    ) -> None:
        self._compile = compile_grammar
        self._find_violation = find_violation

    def handle(self, request: GrammarRequest) -> GrammarReply:
        try:
            if request.grammar is not None:
                return GrammarReply(compiled=self._compile(request.grammar))
            assert request.source is not None
            return GrammarReply(violation=self._find_violation(request.source, request.text))
        except EdgeinferError as e:
            return GrammarReply(error=e.data())
        except (RecursionError, MemoryError) as e:
            error = GrammarTooComplex(
                f"the schema or grammar is too complex: {type(e).__name__}",
                param=_param(request),
                hint=SIMPLIFY_HINT,
            )
            return GrammarReply(error=error.data())
        except Exception as e:
            traceback.print_exc()
            return GrammarReply(
                error=EdgeinferError(f"the grammar process failed: {type(e).__name__}: {e}").data()
            )


def _param(request: GrammarRequest) -> str | None:
    if request.source is not None:
        return request.source.param
    sources = request.grammar.sources if request.grammar is not None else ()
    return sources[0].param if sources else None


def reject_all(import_error: ImportError) -> Callable[[GrammarRequest], GrammarReply]:
    """Return a handler for platforms that lack a library; it answers every request with an error."""
    error = UnsupportedParameter(
        f"constrained answers need llguidance, which is not available on this platform: {import_error}",
        hint="leave out response_format, tool_choice, strict and grammars",
    )
    return lambda _: GrammarReply(error=error.data())


def preload() -> None:
    """Load what would be imported only while answering, when this process may open no files."""
    for name in ("_strptime", "unicodedata"):
        importlib.import_module(name)


def main() -> None:
    with contextlib.suppress(OSError, ValueError):
        # Less stack than any thread of the worker has: a grammar that nests too deeply must fail here.
        resource.setrlimit(resource.RLIMIT_STACK, (MAX_STACK, MAX_STACK))
    limit_resources(MAX_MEMORY)
    try:
        from edgeinfer.grammar.check import find_violation
        from edgeinfer.grammar.to_llguidance import to_llguidance
    except ImportError as e:
        serve(GrammarRequest, reject_all(e))
    else:
        preload()
        serve(GrammarRequest, GrammarRequestHandler(to_llguidance, find_violation).handle)


if __name__ == "__main__":
    main()
