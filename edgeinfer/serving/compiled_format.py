"""Compiles the format that answers must have: a grammar for the engine, and checks for the rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from edgeinfer.errors import SchemaViolation
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar, GrammarSource

Turn = Callable[[], AbstractAsyncContextManager[object]]


class CompiledFormat:
    """A compiled grammar.

    Attributes:
        grammar: llguidance's text; None allows any answer.
        unenforced: the fields of the request with schemas that the grammar does not wholly enforce.
    """

    def __init__(
        self,
        compiler: GrammarCompiler,
        grammar: str | None,
        unenforced: frozenset[str],
        turn: Turn = nullcontext,
    ) -> None:
        """`turn`: admits a check, which takes as long as compiling may."""
        self.grammar = grammar
        self.unenforced = unenforced
        self._compiler = compiler
        self._turn = turn

    async def check(self, schema: Any, param: str, text: str) -> None:
        """Check the rules of a schema that the grammar could not enforce. `param`: the schema's field.

        Raises:
            SchemaViolation: `text`, a complete answer, breaks one of them.
        """
        if not any(field == param or field.startswith(f"{param}.") for field in self.unenforced):
            return
        source = GrammarSource("checked", "json_schema", schema, param)
        async with self._turn():
            violation = await self._compiler.find_violation(source, text)
        if violation:
            raise SchemaViolation(
                f"the answer breaks its schema {violation}",
                param=param,
                hint="this rule can only be checked on a complete answer: try again, or remove the rule",
            )


async def compile_format(
    compiler: GrammarCompiler, grammar: Grammar | None, turn: Turn = nullcontext
) -> CompiledFormat:
    """Compile a grammar. Raises InvalidRequest if it is invalid or too complex."""
    if grammar is None:
        return CompiledFormat(compiler, None, frozenset())
    compiled = await compiler.compile(grammar)
    unenforced = frozenset(source.param for source in grammar.sources if source.name in compiled.unenforced)
    return CompiledFormat(compiler, compiled.text, unenforced, turn)
