"""Whole answers, from the grammar to the parsed call, written by models that know nothing of either."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.chat.parsed_message import ParsedMessage, coalesce
from edgeinfer.chat.reasoning import REASONING_TAGS, ReasoningFormat
from edgeinfer.chat.reply import ReplyParser, ToolCalling, reply_grammar
from edgeinfer.chat.tools.detect import MARKERS, TOOL_FORMATS
from edgeinfer.chat.tools.tool import choose
from edgeinfer.engine.fake import FakeBackend
from edgeinfer.grammar.compiler import GrammarCompiler
from edgeinfer.grammar.source import Grammar, GrammarSource
from edgeinfer.inference.structured_output import StructuredOutput, ThinkingBudget
from edgeinfer.server.openai.schemas.tools import ToolChoiceParam
from edgeinfer.server.openai.translate import to_tool_choice
from tests.support.engine import Answer, Driver, config
from tests.support.tools import read_tools

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "set_light",
            "description": "Switch a light",
            "parameters": {
                "type": "object",
                "properties": {
                    "room": {"enum": ["kitchen", "bath room"]},
                    "level": {"type": "integer", "minimum": 0, "maximum": 100},
                    "on": {"type": "boolean"},
                },
                "required": ["room", "on"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "say",
            "parameters": {
                "type": "object",
                "properties": {
                    "text": {"type": "string", "maxLength": 12},
                    "to": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2},
                },
                "required": ["text"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "list-devices"}},
]
SCHEMAS: dict[str, Any] = {t["function"]["name"]: t["function"].get("parameters", {}) for t in TOOLS}  # type: ignore[index, attr-defined]
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"type": "integer", "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
NAMED = {"type": "function", "function": {"name": "say"}}
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {
        "mode": "required",
        "tools": [NAMED, {"type": "function", "function": {"name": "list-devices"}}],
    },
}
FREE: dict[str, Any] = {"temperature": 1.5, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
CHOICES = ["none", "auto", "required", NAMED, ALLOWED]
TOOL_CHOICE: TypeAdapter[ToolChoiceParam] = TypeAdapter(ToolChoiceParam)
STATES = ["none", "open", "possible", "closed"]


def compiled(*grammars: Grammar) -> list[str]:
    async def compile_all() -> list[str]:
        compiler = GrammarCompiler(20.0)
        texts = [(await compiler.compile(grammar)).text for grammar in grammars]
        await compiler.close()
        return texts

    return asyncio.run(compile_all())


def check(
    answer: Answer,
    pieces: list[str],
    thinking: ReasoningFormat,
    calls: ToolCalling,
    choice: Any,
    parallel: bool,
) -> None:
    """One answer: what it calls, and that the stream says the same as the whole."""
    whole = ReplyParser(thinking, calls)
    said = ParsedMessage(whole.feed(answer.text) + whole.finish())
    stream = ReplyParser(thinking, calls)
    events = [event for piece in pieces for event in coalesce(stream.feed(piece))] + stream.finish()
    streamed = ParsedMessage(events)
    assert [(c.name, c.arguments) for c in streamed.calls] == [(c.name, c.arguments) for c in said.calls]
    assert (streamed.content, streamed.reasoning) == (said.content, said.reasoning)
    if answer.finish.reason != "stop":
        return
    for call in said.calls:
        Draft202012Validator(SCHEMAS[call.name]).validate(json.loads(call.arguments))
    if choice == "none":
        assert not said.calls
    elif choice != "auto":
        assert said.calls
        assert not said.content
    if not parallel or choice is NAMED:
        assert len(said.calls) <= 1
    if choice is NAMED:
        assert [call.name for call in said.calls] == ["say"]
    if choice is ALLOWED:
        assert {call.name for call in said.calls} <= {"say", "list-devices"}


def cases(form: str) -> list[tuple[Any, bool, ReasoningFormat, ToolCalling]]:
    combinations = []
    for choice, parallel, state in itertools.product(CHOICES, [True, False], STATES):
        calls = ToolCalling(
            TOOL_FORMATS[form],
            to_tool_choice(TOOL_CHOICE.validate_python(choice), read_tools(TOOLS), parallel=parallel),
        )
        combinations.append((choice, parallel, ReasoningFormat(state, REASONING_TAGS[0]), calls))  # type: ignore[arg-type]
    return combinations


def answer_all(driver: Driver, form: str, prompt: Any, seed: int) -> None:
    """Every way to choose, alone and in parallel, thinking or not, all at once."""
    combinations = cases(form)
    grammars = [reply_grammar(thinking, calls) for _, _, thinking, calls in combinations]
    assert all(grammars)
    pieces: dict[int, list[str]] = {}
    for id, (text, (_, _, thinking, _)) in enumerate(zip(compiled(*grammars), combinations, strict=True)):  # type: ignore[arg-type]
        tags = thinking.tags
        budget = ThinkingBudget(12, thinking.state == "open", tags.open, tags.close, thinking.closing)
        structured = StructuredOutput(text, thinking=budget)
        driver.add(id, prompt, structured=structured, seed=seed + id, max_tokens=300, **FREE)
        pieces[id] = []
    while driver.engine.has_work:
        for delta in driver.step():
            pieces[delta.id].append(delta.text)
    driver.engine.check_integrity()
    assert not driver.failed
    for id, (choice, parallel, thinking, calls) in enumerate(combinations):
        check(driver.answers[id, 0], pieces[id], thinking, calls, choice, parallel)
    whole = sum(answer.finish.reason == "stop" for answer in driver.answers.values())
    assert whole > len(combinations) // 2


@pytest.mark.parametrize("form", TOOL_FORMATS)
def test_calls_hold_whatever_writes_them(form: str) -> None:
    settings = config(ctx=512, parallel=16, cells=17 * 512, batch=512)
    answer_all(Driver(settings, FakeBackend(settings, length=6)), form, "prompt", 1)


@pytest.mark.parametrize("form", TOOL_FORMATS)
def test_calls_hold_when_the_bundled_model_writes_them(form: str, bundled: Any) -> None:
    backend, settings = bundled
    for sequence in range(settings.slots):
        backend.remove(sequence, 0)
    tokens = backend.vocab.tokenize(
        "<|im_start|>user\nLight on<|im_end|>\n<|im_start|>assistant\n", special=True
    )
    answer_all(Driver(settings, backend), form, tokens, 7)


@pytest.mark.parametrize("state", STATES)
def test_a_schema_holds_beside_tools_and_after_thinking(state: Any) -> None:
    part = GrammarSource("answer", "json_schema", PERSON, "response_format.json_schema.schema")
    thinking = ReasoningFormat(state, REASONING_TAGS[0])
    calls = ToolCalling(TOOL_FORMATS["hermes"], choose(read_tools(TOOLS)))
    settings = config(ctx=512)
    for calling in (None, calls):
        grammar = reply_grammar(thinking, calling, part)
        assert grammar
        (text,) = compiled(grammar)
        driver = Driver(settings, length=10_000)
        for id in range(12):
            budget = ThinkingBudget(9, state == "open", "<think>", "</think>", thinking.closing)
            driver.add(id, f"{id}", structured=StructuredOutput(text, thinking=budget), **FREE)
        driver.run()
        for answer in driver.answers.values():
            parser = ReplyParser(thinking, calling)
            said = ParsedMessage(parser.feed(answer.text) + parser.finish())
            if not said.calls:
                Draft202012Validator(PERSON).validate(json.loads(said.content))


@pytest.fixture(scope="module")
def bundled(model_file: Any, llama_log: Any) -> Any:
    from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
    from edgeinfer.backends.llama_cpp.binding.model import LlamaModel

    settings = LlamaConfig(model=str(model_file), name="nano", ctx=512, parallel=8, cells=9 * 512, threads=1)
    model = LlamaModel(settings, llama_log)
    model.vocab.show(MARKERS)
    backend = LlamaBackend(model, settings)
    yield backend, settings
    backend.close()
    model.close()
