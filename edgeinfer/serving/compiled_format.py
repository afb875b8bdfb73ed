"""The form that a request's answers are held to: compiled for the worker, and checked where that is not enough."""

from __future__ import annotations

from typing import Any

from edgeinfer.errors import SchemaViolation
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar, GrammarSource


class CompiledFormat:
    """`grammar` is llguidance's text; None is any answer at all. `unenforced`: fields whose schemas it does not hold."""

    def __init__(self, compiler: GrammarCompiler, grammar: str | None, unenforced: frozenset[str]) -> None:
        self.grammar = grammar
        self._compiler = compiler
        self.unenforced = unenforced

    async def check(self, schema: Any, param: str, text: str) -> None:
        """Of a finished answer, what the grammar could not see to. `param`: the field the schema came from.

        Raises:
            SchemaViolation: the answer is JSON, but breaks a rule of the schema.
        """
        if not any(field == param or field.startswith(f"{param}.") for field in self.unenforced):
            return
        wrong = await self._compiler.find_violation(
            GrammarSource("checked", "json_schema", schema, param), text
        )
        if wrong:
            raise SchemaViolation(
                f"the answer breaks its schema {wrong}",
                param=param,
                hint="this rule can only be checked on a finished answer: ask again, or leave it out",
            )


async def compile_format(compiler: GrammarCompiler, grammar: Grammar | None) -> CompiledFormat:
    """Raises InvalidRequest for what is no valid form, or is more than this server takes on."""
    if grammar is None:
        return CompiledFormat(compiler, None, frozenset())
    compiled = await compiler.compile(grammar)
    loose = frozenset(source.param for source in grammar.sources if source.name in compiled.unenforced)
    return CompiledFormat(compiler, compiled.text, loose)
