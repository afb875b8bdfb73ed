"""What the request models accept, refuse and name."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from edgeinfer.chat.message import Message
from edgeinfer.errors import InvalidRequest, UnknownParameter, UnsupportedParameter
from edgeinfer.server.http.request_model import Model, validate
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest
from edgeinfer.server.openai.translate import to_messages

HI = [{"role": "user", "content": "Hi"}]


def chat(**fields: Any) -> ChatRequest:
    return validate(ChatRequest, {"messages": HI, **fields})


def completion(**fields: Any) -> CompletionRequest:
    return validate(CompletionRequest, {"prompt": "Once", **fields})


def test_an_unknown_field_is_named_with_the_nearest_right_one() -> None:
    """A typo is told, with what was meant."""
    with pytest.raises(UnknownParameter) as e:
        chat(temprature=0.5)
    assert (e.value.param, e.value.hint) == ("temprature", "did you mean 'temperature'?")


def test_a_mistyped_field_deep_inside_is_named_by_its_path() -> None:
    """The path is that of the request, without pydantic's own steps."""
    answer = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "argumnets": "{}"}}]}
    with pytest.raises(UnknownParameter) as e:
        validate(ChatRequest, {"messages": [*HI, answer]})
    assert e.value.param == "messages[1].tool_calls[0].function.argumnets"
    assert e.value.hint == "did you mean 'arguments'?"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "alloy"}),
        ("web_search_options", {}),
    ],
)
def test_a_known_field_without_support_is_refused_by_name(field: str, value: object) -> None:
    """Never ignored: the caller would take the answer for what was asked."""
    with pytest.raises(UnsupportedParameter) as e:
        chat(**{field: value})
    assert e.value.param == field


@pytest.mark.parametrize(("field", "value"), [("best_of", 2), ("stop_token_ids", [5])])
def test_a_completion_refuses_by_name_too(field: str, value: object) -> None:
    """The same for the older endpoint."""
    with pytest.raises(UnsupportedParameter) as e:
        completion(**{field: value})
    assert e.value.param == field


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "y"},
        {"store": False, "service_tier": "auto", "response_format": {"type": "text"}},
        {"modalities": ["text"], "tools": [], "tool_choice": "none"},
        {"cache_prompt": True},
    ],
)
def test_fields_that_ask_for_nothing_are_accepted(fields: dict[str, Any]) -> None:
    """Metadata and defaults do not stand in the way of an answer."""
    assert chat(**fields).n == 1


def test_null_counts_as_absent_in_every_field() -> None:
    """OpenAI's clients send null for what was not given, also in fields that have no support."""
    fields = [*ChatRequest.model_fields, *ChatRequest.unsupported, *ChatRequest.accepted]
    request = chat(**dict.fromkeys(set(fields) - {"messages"}))
    assert request == chat()


@pytest.mark.parametrize(
    ("module", "typed_dict", "model"),
    [
        (chat_create_params, "CompletionCreateParamsBase", ChatRequest),
        (completion_create_params, "CompletionCreateParamsBase", CompletionRequest),
        (embedding_create_params, "EmbeddingCreateParams", EmbeddingsRequest),
    ],
)
def test_every_field_of_the_openai_client_is_known(module: Any, typed_dict: str, model: type[Model]) -> None:
    """Each is supported, harmless or refused by name; but a wish is named as ignored, as a stranger is."""
    theirs = set(getattr(module, typed_dict).__annotations__)
    assert theirs - set(model.model_fields) - set(model.unsupported) - model.accepted <= {"verbosity"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", "0.5"),
        ("temperature", True),
        ("top_p", 1.01),
        ("min_p", -1),
        ("typical_p", 1.01),
        ("top_k", 1.5),
        ("top_k", -2),
        ("n", 0),
        ("n", 129),
        ("n", True),
        ("max_tokens", 0),
        ("max_tokens", -2),
        ("max_tokens", 10**20),
        ("seed", 2**63),
        ("seed", 1.0),
        ("stop", ""),
        ("stop", ["a", ""]),
        ("stop", ["x"] * 17),
        ("stop", "x" * 2000),
        ("stop", 5),
        ("presence_penalty", 2.1),
        ("frequency_penalty", float("nan")),
        ("repeat_penalty", 0),
        ("repeat_last_n", -2),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"5": 101}),
        ("logit_bias", {str(i): 1 for i in range(301)}),
        ("logit_bias", [[1, 2]]),
        ("top_logprobs", 21),
        ("logprobs", 1),
        ("stream", "yes"),
        ("stream_options", {"include_usage": 1}),
        ("messages", []),
        ("messages", "Hi"),
        ("model", 5),
        ("chat_template_kwargs", []),
    ],
)
def test_a_value_out_of_bounds_or_of_another_type_is_refused(field: str, value: object) -> None:
    """Nothing is coerced; the message names the field."""
    with pytest.raises(InvalidRequest) as e:
        chat(**{field: value})
    assert str(e.value.param).startswith(field)
    assert field in e.value.message


def test_the_path_into_a_list_is_told() -> None:
    """One bad stop text among good ones is named."""
    with pytest.raises(InvalidRequest) as e:
        chat(stop=["a", ""])
    assert e.value.param == "stop[1]"


def test_a_missing_field_is_named() -> None:
    """As every other mistake."""
    with pytest.raises(InvalidRequest, match="missing") as e:
        validate(ChatRequest, {})
    assert e.value.param == "messages"


@pytest.mark.parametrize(
    ("response_format", "param"),
    [
        ({"type": "regex", "regex": "a+"}, "response_format.pattern"),
        ({"type": "choice", "texts": ["a"]}, "response_format.choices"),
        ({"type": "grammar"}, "response_format.grammar"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {}}, "response_format.json_schema.schema"),
    ],
)
def test_a_missing_field_of_a_form_is_named(response_format: dict[str, Any], param: str) -> None:
    """Also where a name that was guessed is that of the form."""
    with pytest.raises(InvalidRequest, match=f"missing parameter: '{param}'") as e:
        chat(response_format=response_format)
    assert e.value.param == param


@pytest.mark.parametrize("raw", [[], "x", 5, None])
def test_a_body_that_is_no_object_is_refused(raw: object) -> None:
    """JSON alone is not enough."""
    with pytest.raises(InvalidRequest, match="object"):
        validate(ChatRequest, raw)


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            "messages[0].content[0].type",
        ),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "wizard", "content": "x"}, "messages[0].role"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "user", "content": 5}, "messages[0].content"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": None}, "messages[0].content"),
        ("Hi", "messages[0]"),
    ],
)
def test_a_bad_message_is_named_to_the_part(message: object, param: str) -> None:
    """A conversation may be long; the mistake is found by its path."""
    with pytest.raises(InvalidRequest) as e:
        to_messages(validate(ChatRequest, {"messages": [message]}).messages)
    assert e.value.param == param


def test_an_answer_can_be_sent_back_as_the_client_dumps_it() -> None:
    """`message.model_dump()` holds nulls for everything that was not there."""
    dumped = {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": None, "audio": None}
    request = validate(ChatRequest, {"messages": [*HI, dumped]})
    assert to_messages(request.messages)[1] == Message(role="assistant", content="Hello")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
    ],
)
def test_a_prompt_has_four_forms(prompt: object, expected: object) -> None:
    """One text, several, one list of tokens, several."""
    assert completion(prompt=prompt).prompt == expected


@pytest.mark.parametrize("prompt", [[], [[]], [1, "a"], ["a", [1]], [True], [-1], [1.0], 5, [[1], []], {}])
def test_any_other_prompt_is_refused(prompt: object) -> None:
    """Also mixtures of the four, and true, which is no token."""
    with pytest.raises(InvalidRequest, match="list of tokens") as e:
        completion(prompt=prompt)
    assert e.value.param == "prompt"


def test_echo_together_with_logprobs_is_refused() -> None:
    """The prompt's logprobs are not computed."""
    with pytest.raises(UnsupportedParameter) as e:
        completion(echo=True, logprobs=1).check_echo()
    assert e.value.param == "echo"


def test_a_completion_is_sixteen_tokens_long_unless_asked() -> None:
    """OpenAI's default, which this endpoint alone has."""
    assert completion().token_limit() == 16
    assert completion(max_tokens=100).token_limit() == 100
