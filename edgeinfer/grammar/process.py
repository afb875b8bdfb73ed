"""The grammar process: compiles schemas and grammars, and checks answers, for the daemon that started it.

A module that the daemon never imports, and through it the only one to import llguidance and jsonschema.
"""

from __future__ import annotations

import contextlib
import resource
import traceback
from collections.abc import Callable

from edgeinfer.errors import EdgeinferError, GrammarTooComplex, UnsupportedParameter
from edgeinfer.grammar.limits import MEMORY, STACK
from edgeinfer.grammar.protocol import Job, Outcome
from edgeinfer.grammar.source import Compiled, Grammar, Part
from edgeinfer.ipc.child_main import confine, serve


class Worker:
    """Does jobs."""

    def __init__(
        self, compiled: Callable[[Grammar], Compiled], violation: Callable[[Part, str], str | None]
    ) -> None:
        self._compiled = compiled
        self._violation = violation

    def answer(self, job: Job) -> Outcome:
        try:
            if job.grammar is not None:
                return Outcome(compiled=self._compiled(job.grammar))
            assert job.part is not None
            return Outcome(violation=self._violation(job.part, job.text))
        except EdgeinferError as e:
            return Outcome(error=e.data())
        except (RecursionError, MemoryError) as e:
            parts = (job.part,) if job.part else job.grammar.parts if job.grammar else ()
            error = GrammarTooComplex(
                f"it is too complex: {type(e).__name__}",
                param=parts[0].param if parts else None,
                hint="use a smaller schema or grammar",
            )
            return Outcome(error=error.data())
        except Exception as e:
            traceback.print_exc()
            return Outcome(
                error=EdgeinferError(f"the grammar process failed: {type(e).__name__}: {e}").data()
            )


def refuse(error: ImportError) -> Callable[[Job], Outcome]:
    """The answer to all jobs where a library is missing."""
    told = UnsupportedParameter(
        f"constraints on answers need the llguidance wheel, which this platform lacks: {error}",
        hint="leave out response_format, tool_choice, strict and grammars",
    )
    return lambda _: Outcome(error=told.data())


def main() -> None:
    with contextlib.suppress(OSError, ValueError):
        # Less than any thread of the worker has: what nests too deep must come to light here.
        resource.setrlimit(resource.RLIMIT_STACK, (STACK, STACK))
    confine(MEMORY)
    try:
        from edgeinfer.grammar.check import violation
        from edgeinfer.grammar.to_llguidance import compiled
    except ImportError as e:
        serve(Job, refuse(e), ready=Outcome())
    else:
        serve(Job, Worker(compiled, violation).answer, ready=Outcome())


if __name__ == "__main__":
    main()
