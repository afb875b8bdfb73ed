"""What a wrong body costs, and how the client is told."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from edgeinfer.errors import InvalidRequest, UnknownParameter
from edgeinfer.server.http.request_model import RequestModel, validate
from edgeinfer.server.http.unknown_fields import UnknownFields
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.llama_server.schemas.tokens import DetokenizeRequest
from edgeinfer.server.openai.schemas.chat import ApplyTemplateRequest, ChatRequest
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest

MEGABYTE = 1 << 20
MANY = 50_000
USER = {"role": "user", "content": "x"}
CHAT: dict[str, Any] = {"messages": [USER]}
INFILL: dict[str, Any] = {"input_prefix": "", "input_suffix": ""}


def many(name: str = "x") -> dict[str, Any]:
    return {f"{name}{n}": n for n in range(MANY)}


def chat(**fields: Any) -> tuple[type[RequestModel], dict[str, Any]]:
    return ChatRequest, {**CHAT, **fields}


HOSTILE: dict[str, tuple[type[RequestModel], dict[str, Any]]] = {
    "choices": chat(response_format={"type": "choice", "choices": [1] * MANY}),
    "good choices": chat(response_format={"type": "choice", "choices": ["a"] * MANY}),
    "samplers": (InfillRequest, {**INFILL, "samplers": [1] * MANY}),
    "good samplers": (InfillRequest, {**INFILL, "samplers": ["top_k"] * MANY}),
    "files": (InfillRequest, {**INFILL, "input_extra": [many()] * 1024}),
    "response fields": (InfillRequest, {**INFILL, "response_fields": [{}] * MANY}),
    "bias keys": chat(logit_bias=many()),
    "stops": chat(stop=[1] * MANY),
    "messages": (ChatRequest, {"messages": [1] * MANY}),
    "parts": (ChatRequest, {"messages": [{"role": "user", "content": [{"type": "text"}] * 1000}] * 50}),
    "parts of parts": (ChatRequest, {"messages": [{"role": "user", "content": [[[]]] * 1000}] * 50}),
    "calls": (ChatRequest, {"messages": [{"role": "assistant", "tool_calls": [many()] * 200}] * 50}),
    "fields of the body": chat(**many()),
    "fields of a message": (ChatRequest, {"messages": [{**USER, **many()}]}),
    "fields of messages": (ChatRequest, {"messages": [{"role": "user", "content": "x", **many()}] * 8000}),
    "fields of a format": chat(response_format={"type": "text", **many()}),
    "fields of reasoning": chat(reasoning=many()),
    "fields of stream_options": chat(stream_options=many()),
    "fields of a tool": chat(tools=[{"type": "function", "function": {"name": "f", **many()}}]),
    "tools": chat(tools=[{}] * MANY),
    "allowed tools": chat(
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [1] * MANY}}
    ),
    "large tools": chat(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"enum": [0] * 70_000}}}]
    ),
    "plain tools": (ApplyTemplateRequest, {**CHAT, "tools": [many()]}),
    "template variables": chat(chat_template_kwargs={"a": [[]] * MANY}),
    "named template variables": chat(chat_template_kwargs=many()),
    "a long value": (ChatRequest, {"messages": [{"role": "x" * MEGABYTE, "content": ""}]}),
    "a long type": (ChatRequest, {"messages": [{"role": "user", "content": [{"type": "x" * MEGABYTE}]}]}),
    "a long tag": chat(response_format={"type": "x" * MEGABYTE}),
    "a long choice of tool": chat(tool_choice="x" * MEGABYTE),
    "mixed prompts": (CompletionRequest, {"prompt": ["a", *[1] * MANY]}),
    "prompts": (CompletionRequest, {"prompt": [[-1]] * MANY}),
    "inputs": (EmbeddingsRequest, {"input": ["a"] * MANY}),
    "tokens": (DetokenizeRequest, {"tokens": [-1] * MANY}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_wrong_body_is_refused_at_its_first_mistakes(kind: str) -> None:
    """A million wrong values are neither a million errors nor a long message."""
    model, body = HOSTILE[kind]
    tracemalloc.start()
    with pytest.raises(InvalidRequest) as e:
        validate(model, body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MEGABYTE
    told = e.value.public()
    assert len(told.message) < 1000
    assert len(told.param or "") < 400
    assert len(told.hint or "") < 1000


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (ChatRequest, {"messages": []}, "messages must have at least one item"),
        (ChatRequest, {"messages": 5}, "messages must be a list"),
        (ChatRequest, {"messages": [5]}, "messages[0] must be an object"),
        (
            ChatRequest,
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content must be a string or a list",
        ),
        (ChatRequest, {"stop": ""}, "stop must not be empty"),
        (ChatRequest, {"stop": ["a", ""]}, "stop[1] must not be empty"),
        (ChatRequest, {"stop": ["x"] * 17}, "stop may have at most 16 items"),
        (ChatRequest, {"stop": "x" * 1025}, "stop may have at most 1,024 characters"),
        (ChatRequest, {"temperature": "1"}, "temperature must be a number"),
        (ChatRequest, {"temperature": float("inf")}, "temperature must be a finite number"),
        (ChatRequest, {"temperature": -1}, "temperature must be at least 0"),
        (ChatRequest, {"temperature": 101}, "temperature must be at most 100"),
        (ChatRequest, {"repeat_penalty": 0}, "repeat_penalty must be greater than 0"),
        (ChatRequest, {"top_k": 1.5}, "top_k must be a whole number"),
        (ChatRequest, {"top_k": True}, "top_k must be a whole number"),
        (ChatRequest, {"max_tokens": 0}, "max_tokens must be at least 1, or -1 for no limit"),
        (ChatRequest, {"max_tokens": 2**40}, "max_tokens must be at most 2147483647"),
        (ChatRequest, {"seed": 2**63}, "seed must be at most 9223372036854775807"),
        (ChatRequest, {"stream": "yes"}, "stream must be true or false"),
        (ChatRequest, {"model": 5}, "model must be a string"),
        (ChatRequest, {"max_new_tokens": "x"}, "max_new_tokens must be a whole number"),
        (ChatRequest, {"stop_sequences": ["a", ""]}, "stop_sequences[1] must not be empty"),
        (ChatRequest, {"logit_bias": []}, "logit_bias must be an object"),
        (
            ChatRequest,
            {"logit_bias": {str(n): 0 for n in range(301)}},
            "logit_bias may have at most 300 entries",
        ),
        (ChatRequest, {"logit_bias": {"1": 101}}, "logit_bias.1 must be at most 100"),
        (ChatRequest, {"tools": [{}]}, "missing parameter: 'tools[0].type'"),
        (
            ChatRequest,
            {"tool_choice": "some"},
            "tool_choice must be 'none', 'auto' or 'required', or must be an object",
        ),
        (ChatRequest, {"response_format": {}}, "response_format must have a 'type'"),
        (ChatRequest, {"chat_template_kwargs": []}, "chat_template_kwargs must be an object"),
        (CompletionRequest, {"prompt": ["x"] * 129}, "prompt may have at most 128 items"),
        (
            CompletionRequest,
            {"prompt": 5},
            "prompt must be a string, a list of strings, a list of tokens or a list of lists of tokens",
        ),
        (InfillRequest, {"t_max_predict_ms": 10**18}, "t_max_predict_ms must be at most 2147483647"),
        (InfillRequest, {"n_indent": -1}, "n_indent must be at least 0"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    model: type[RequestModel], fields: dict[str, Any], message: str
) -> None:
    """About the field, without the words of a library."""
    bodies = {ChatRequest: CHAT, CompletionRequest: {"prompt": "x"}, InfillRequest: INFILL}
    with pytest.raises(InvalidRequest) as e:
        validate(model, {**bodies[model], **fields})
    assert e.value.message == message


WRONG: list[Any] = [
    True, 5, -5, 1.5, 10**15, float("nan"), "", "x", "x" * 3000, [], [1], ["x"], [[]], [{}], {}, {"a": 1}, {"1": "x"},
    {"type": "x"}, {"type": 5}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {"schema": 5}},
    {"type": "grammar", "grammar": "x", "syntax": "y"}, {"type": "allowed_tools", "allowed_tools": {"mode": "x"}},
    {"include_usage": 5}, [{"text": 5}], [{"role": "user", "content": [{"type": "text"}]}],
    [{"role": "assistant", "tool_calls": [{"function": {"name": 5}}]}], [{"type": "function", "function": {"name": 5}}],
]  # fmt: skip


def refusal(model: type[RequestModel], body: dict[str, Any]) -> str | None:
    try:
        validate(model, body)
    except InvalidRequest as e:
        return e.message
    return None


@pytest.mark.parametrize(
    "model", [ChatRequest, CompletionRequest, EmbeddingsRequest, InfillRequest, DetokenizeRequest]
)
def test_no_error_has_the_words_of_a_library(model: type[RequestModel]) -> None:
    """Whatever is wrong with whichever field."""
    good: dict[type[RequestModel], dict[str, Any]] = {
        ChatRequest: CHAT,
        CompletionRequest: {"prompt": "x"},
        EmbeddingsRequest: {"input": "x"},
        InfillRequest: INFILL,
        DetokenizeRequest: {"tokens": [1]},
    }
    bodies = [{**good[model], field: value} for field in model.model_fields for value in WRONG]
    told = {text for body in bodies if (text := refusal(model, body))}
    assert len(told) >= 3
    assert not [
        text for text in told if "Input" in text or "should" in text or "valid" in text or "Value" in text
    ]


@pytest.mark.parametrize("strict", [{"temprature" * 100: 1}, {"messages": [{**USER, "x" * MEGABYTE: 1}]}])
def test_no_name_is_repeated_at_length(strict: dict[str, Any]) -> None:
    """Its beginning shows which one it is."""
    with pytest.raises(UnknownParameter) as e:
        validate(ChatRequest, {**CHAT, **strict}, UnknownFields(strict=True))
    assert e.value.message.startswith(
        ("unknown parameter: 'tempraturetemp", "unknown parameter: 'messages[0].xxx")
    )
    assert e.value.message.endswith("…'")
    assert len(e.value.message) < 200
    assert e.value.hint is None
