"""The daemon's client compiles, checks, survives hostile schemas, and replaces a dead process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest

from edgeinfer.errors import (
    EdgeinferError,
    GrammarTooComplex,
    InvalidRequest,
    ShuttingDown,
    UnsupportedSchema,
)
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import CompiledGrammar, Grammar, GrammarSource, SourceKind
from tests.support.grammar import accepts
from tests.support.processes import children

LIMIT = 10.0
"""Seconds; what is refused in time takes none of these tests half a second."""


@pytest.fixture
async def compiler() -> AsyncIterator[GrammarCompiler]:
    compiler = GrammarCompiler(LIMIT)
    yield compiler
    await compiler.close()


def grammar(source: Any, kind: SourceKind = "json_schema") -> Grammar:
    return Grammar("start: @s0", (GrammarSource("s0", kind, source, "tools[2].function.parameters"),))


def compilers() -> list[psutil.Process]:
    return children("edgeinfer.grammar.process")


async def test_json_is_written_as_models_were_trained_to(compiler: GrammarCompiler) -> None:
    """Answers have the separators of json.dumps and no other white space."""
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}
    text = (await compiler.compile(grammar(schema))).text
    assert accepts(text, json.dumps({"a": [1, 2]}))
    assert not accepts(text, '{"a":[1,2]}')
    assert not accepts(text, '{"a": [1, 2] }')


@pytest.mark.parametrize(
    ("kind", "source", "allowed", "refused"),
    [
        ("regex", r"^[a-z]+/\d{2}$", ["ab/12"], ["ab12", "AB/12", "xab/12 "]),
        ("regex", r'"\w+"|\\', ['"a"', "\\"], ["a"]),
        (
            "choice",
            ["yes", "no", 'quoted "word"', "né\n"],
            ["yes", "no", 'quoted "word"', "né\n"],
            ["maybe", ""],
        ),
        ("choice", ["a", "ab", ""], ["a", "ab", ""], ["b"]),
        ("gbnf", 'root ::= "x" digit+\ndigit ::= [0-9]', ["x1", "x22"], ["x", "1"]),
        ("gbnf", r'root ::= "\u0041b\xe9\U0001F600\[\]\"\\\n"', ['Abé😀[]"\\\n'], []),
        ("gbnf", r"root ::= [\u0041-\u0043\U0001F600-\U0001F64F日]", ["B", "😀", "日"], ["D", "u"]),
        ("gbnf", "root ::= [+--] [a&&b] [a~~b] [^^] [.|/-]", [",&~a-", "-aba/"], [".&~a-", ",&~^-"]),
        ("gbnf", r"root ::= [\]\[-] . # [\"", ["]a", "-\n", "[é"], ["a]"]),
        ("lark", 'start: word (" " word)*\nword: /[a-z]+/', ["a", "a bc"], ["A", "a "]),
    ],
)
async def test_other_kinds_of_grammar(
    compiler: GrammarCompiler, kind: SourceKind, source: Any, allowed: list[str], refused: list[str]
) -> None:
    """Each kind allows its own answers; a regular expression matches the whole answer, anchored or not."""
    text = (await compiler.compile(grammar(source, kind))).text
    assert [True] * len(allowed) == [accepts(text, answer) for answer in allowed]
    assert [False] * len(refused) == [accepts(text, answer) for answer in refused]


async def test_lark_refers_to_sources(compiler: GrammarCompiler) -> None:
    """Any number of sources can be referred to as @name."""
    sources = (
        GrammarSource("a", "json_schema", {"type": "integer"}, "p"),
        GrammarSource("b", "choice", ["x", "y"], "q"),
    )
    text = (await compiler.compile(Grammar('start: @a "=" @b', sources))).text
    assert accepts(text, "12=y")
    assert not accepts(text, "12=z")


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("regex", "(?=a)b"),
        ("regex", "(a)\\1"),
        ("regex", "("),
        ("regex", "a$b"),
        ("regex", 1),
        ("choice", []),
        ("choice", "yes"),
        ("choice", ["a", 1]),
        ("gbnf", "root ::= ("),
        ("gbnf", "other ::= 1"),
        ("gbnf", r'root ::= "\q"'),
        ("gbnf", r"root ::= [\ud800-\udfff]"),
        ("gbnf", r'root ::= "\U00110000"'),
        ("gbnf", None),
        ("lark", "start: ("),
        ("lark", "begin: /a/"),
        ("lark", "start: start /a/"),
        ("lark", {}),
    ],
)
async def test_malformed_grammar_is_the_callers_fault(
    compiler: GrammarCompiler, kind: SourceKind, source: Any
) -> None:
    """The error names the field that the grammar came from."""
    with pytest.raises(InvalidRequest) as caught:
        await compiler.compile(grammar(source, kind))
    assert "tools[2].function.parameters" == caught.value.param


@pytest.mark.parametrize(
    ("kind", "source"),
    [("lark", 'start: "a" start'), ("gbnf", 'root ::= "a"{1000000}'), ("regex", "(a{1000}){1000}")],
)
async def test_a_grammar_that_forces_endless_text_is_refused(
    compiler: GrammarCompiler, kind: SourceKind, source: str
) -> None:
    """It fails when it is compiled, not in the middle of an answer."""
    with pytest.raises(GrammarTooComplex):
        await compiler.compile(grammar(source, kind))


async def test_compiled_grammars_are_cached(compiler: GrammarCompiler) -> None:
    """An equal grammar is not compiled again; the process is not even needed."""
    first = await compiler.compile(grammar({"type": "integer"}))
    compilers()[0].suspend()
    assert first is await compiler.compile(grammar({"type": "integer"}))
    compilers()[0].resume()
    assert first != await compiler.compile(grammar({"type": "string"}))


async def test_the_cache_is_bounded(compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The least recently used grammar is dropped first."""
    monkeypatch.setattr(GrammarCompiler, "MAX_CACHED", 2)

    async def compiled(value: int) -> CompiledGrammar:
        return await compiler.compile(grammar({"const": value}))

    one, two = await compiled(1), await compiled(2)
    assert one is await compiled(1)
    await compiled(3)
    assert one is await compiled(1)
    assert two is not await compiled(2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"a": [1, 2]}', None),
        ('{"a": [1, 1]}', "at /a: [1, 1] has non-unique elements"),
        ('{"a": ["x"]}', "at /a/0: 'x' is not of type 'integer'"),
        ("{}", "at the root: 'a' is a required property"),
        ('{"a": [', "the answer is not valid JSON: Expecting value: line 1 column 8 (char 7)"),
        ('{"a": [NaN]}', "the answer is not valid JSON: NaN is not allowed in JSON"),
    ],
)
async def test_violation_says_what_is_wrong_and_where(
    compiler: GrammarCompiler, answer: str, expected: str | None
) -> None:
    """The check uses the caller's schema, with the keywords that no grammar enforces."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}},
        "required": ["a"],
    }
    compiled = await compiler.compile(grammar(schema))
    assert {"s0": ("/properties/a/uniqueItems",)} == compiled.unenforced
    assert expected == await compiler.find_violation(grammar(schema).sources[0], answer)


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"multipleOf": 0.1}, "0.3", "0.35"),
        ({"type": "string", "format": "date"}, '"no date"', "1"),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True},
            "2",
            "3",
        ),
        ({"maximum": 3, "exclusiveMaximum": True}, "2", "3"),
        ({"items": [{"type": "integer"}], "additionalItems": False}, "[1]", "[1, 2]"),
        ({"dependencies": {"a": ["b"]}}, '{"a": 1, "b": 1}', '{"a": 1}'),
        ({"dependencies": {"a": {"maxProperties": 1}}}, '{"a": 1}', '{"a": 1, "b": 1}'),
        (
            {"$schema": "http://json-schema.org/draft-07/schema#", "dependentRequired": {"a": ["b"]}},
            '{"a": 1}',
            "{",
        ),
    ],
)
async def test_violation_follows_the_draft(
    compiler: GrammarCompiler, schema: Any, valid: str, invalid: str
) -> None:
    """Keywords have the meaning of the draft that the schema names, or of any draft. Formats are annotations."""
    part = GrammarSource("s0", "json_schema", schema, "p")
    assert await compiler.find_violation(part, valid) is None
    assert await compiler.find_violation(part, invalid) is not None


async def test_slow_check_is_ended(compiler: GrammarCompiler) -> None:
    """An expression that backtracks endlessly takes no longer than the limit, and the next call is served."""
    slow = GrammarCompiler(0.5)
    await slow.find_violation(GrammarSource("s0", "json_schema", {}, "p"), "1")
    with pytest.raises(InvalidRequest, match=r"longer than 0\.5 seconds"):
        await slow.find_violation(
            GrammarSource("s0", "json_schema", {"pattern": "^(a+)+$"}, "p"), f'"{"a" * 60}b"'
        )
    assert await slow.find_violation(GrammarSource("s0", "json_schema", {"pattern": "a"}, "p"), '"a"') is None
    await slow.close()


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema


def chain(length: int, link: Any) -> dict[str, Any]:
    definitions = {f"d{n}": link({"$ref": f"#/$defs/d{n + 1}"}) for n in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": {"type": "string"}}}


HOSTILE = {
    "deep": nested(60),
    "very deep": nested(900),
    "long chain": chain(20_000, lambda ref: ref),
    "large": {"enum": ["x" * 1000] * 1100},
    "many properties": {"properties": {f"p{n}": {"type": "string"} for n in range(40_000)}},
    "long strings": {"type": "string", "minLength": 10**9},
    "long arrays": {"type": "array", "minItems": 10**9},
    "nested expression": {"type": "string", "pattern": "(" * 5000 + "a" + ")" * 5000},
    "remote": {"$ref": "http://127.0.0.1:9/x.json"},
    "file": {"$ref": "file:///etc/passwd"},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_schema_is_refused_in_time(compiler: GrammarCompiler, name: str) -> None:
    """The error comes within the limit and names the field; the next call is served."""
    await compiler.compile(grammar({"type": "null"}))
    start = time.monotonic()
    with pytest.raises((GrammarTooComplex, UnsupportedSchema)) as caught:
        await compiler.compile(grammar(HOSTILE[name]))
    assert time.monotonic() - start < LIMIT + 2
    assert "tools[2].function.parameters" == caught.value.param
    assert len(caught.value.message) < 500
    assert (await compiler.compile(grammar({"type": "integer"}))).text


BULKY = {
    "values": {"enum": [f"value {n}" for n in range(10_000)]},
    "conditions": {
        "type": "object",
        "allOf": [
            {"if": {"properties": {f"k{n}": {"const": 1}}}, "then": {"required": [f"z{n}"]}}
            for n in range(40)
        ],
    },
    "alternatives": {"allOf": [{"anyOf": [{"required": [f"{n}{m}"]} for m in range(9)]} for n in range(9)]},
    "doubled references": chain(25, lambda ref: {"allOf": [ref, ref]}),
    "dependencies": {"dependentRequired": {f"a{n}": [f"b{n}"] for n in range(60)}},
    "long maximum": {"type": "string", "maxLength": 10**9},
    "huge repetition": {"type": "string", "pattern": "^((a{0,100}){0,100}){0,100}$"},
    "backtracking": {"type": "string", "pattern": "^(a+)+$"},
    "huge numbers": {"type": "number", "minimum": -(10**300), "maximum": 10**400},
}


@pytest.mark.parametrize("name", BULKY)
async def test_bulky_schema_is_compiled(compiler: GrammarCompiler, name: str) -> None:
    """A large schema compiles if there is a way to do so within the limits."""
    assert (await compiler.compile(grammar(BULKY[name]))).text


@pytest.mark.parametrize("source", ["\ud800", float("nan"), {1}, b"x"])
async def test_invalid_json_is_the_callers_fault(compiler: GrammarCompiler, source: Any) -> None:
    """A value that JSON cannot hold is an error of the request; a lone surrogate is one of them."""
    with pytest.raises(InvalidRequest) as caught:
        await compiler.compile(grammar({"enum": [source]}))
    assert "tools[2].function.parameters" == caught.value.param


async def test_dead_process_is_replaced(compiler: GrammarCompiler) -> None:
    """The kernel may kill the process at any time when memory is short."""
    await compiler.compile(grammar(True))
    (child,) = compilers()
    child.kill()
    await asyncio.to_thread(child.wait)
    await asyncio.sleep(0.05)  # for the event loop to notice
    assert (await compiler.compile(grammar({"type": "string"}))).text


async def test_process_is_started_at_the_first_call_and_sees_no_secrets(
    compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the environment but the search path is passed on."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert compilers() == []
    await compiler.compile(grammar(True))
    assert "HF_TOKEN" not in compilers()[0].environ()


async def test_close_ends_the_process_and_fails_calls() -> None:
    """A call after `close` raises ShuttingDown."""
    compiler = GrammarCompiler(LIMIT)
    await compiler.compile(grammar(True))
    await compiler.close()
    assert compilers() == []
    with pytest.raises(ShuttingDown):
        await compiler.compile(grammar({"type": "string"}))


def test_daemon_never_imports_the_libraries() -> None:
    """Only the grammar process imports llguidance and jsonschema."""
    code = (
        "import sys, edgeinfer.grammar.compiler;"
        "print({'llguidance', 'jsonschema', 'numpy', 'jinja2'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()\n" == result.stdout


async def test_errors_are_those_of_the_request(compiler: GrammarCompiler) -> None:
    """Each has status 400, its own code, and a hint if there is something to do."""
    with pytest.raises(EdgeinferError) as caught:
        await compiler.compile(grammar({"$ref": "other.json"}))
    assert (400, "unsupported_schema") == (caught.value.status, caught.value.code)
    assert caught.value.hint
    with pytest.raises(EdgeinferError) as caught:
        await compiler.compile(grammar(HOSTILE["large"]))
    assert (400, "grammar_too_complex") == (caught.value.status, caught.value.code)
    assert caught.value.hint
