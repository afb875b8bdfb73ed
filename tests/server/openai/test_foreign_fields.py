"""Fields that clients of other servers send: accepted, mapped to ours, or refused with a way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.errors import InvalidRequest, UnknownParameter, UnsupportedParameter
from edgeinfer.server.http.request_model import validate
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.openai.schemas import foreign_fields
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest
from edgeinfer.server.openai.translate import chat_call, completion_call
from edgeinfer.serving.chat import ChatCall
from edgeinfer.serving.completion import CompletionCall
from tests.support.server import INFO, Scripted, Served, error, serving

USER = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def chat(**fields: Any) -> ChatCall:
    return chat_call(validate(ChatRequest, {"messages": [USER], **fields}))


def completion(**fields: Any) -> CompletionCall:
    return completion_call(validate(CompletionRequest, {"prompt": "Once", **fields}))


NO_EFFECT = [
    # Open WebUI's advanced parameters
    {"keep_alive": "5m"},
    {"keep_alive": -1},
    {"num_ctx": 0},
    {"num_keep": 24},
    {"num_batch": 512},
    {"num_thread": 8},
    {"num_gpu": 99},
    {"use_mmap": True, "use_mlock": False},
    {"tfs_z": 1},
    {"tfs_z": 1.0},
    {"mirostat": 0, "mirostat_tau": 5.0, "mirostat_eta": 0.1},
    {"format": ""},
    {"options": {}},
    {"options": {"num_thread": 4, "mirostat_tau": 5, "low_vram": True, "seed": None}},
    # OpenAI's
    {"store": True},
    {"store": False, "service_tier": "auto", "modalities": ["text"], "user": "me", "metadata": {"a": "b"}},
    {"best_of": 1},
    {"functions": [], "function_call": "none"},
    {"verbosity": "medium"},
    {"prompt_cache_key": "k", "safety_identifier": "s", "prompt_cache_retention": "24h"},
    # llama-server's
    {"timings_per_token": True, "return_progress": False},
    {"cache_prompt": True, "id_slot": 3, "n_keep": 4},
    {"reasoning_format": "auto", "parse_tool_calls": True, "min_keep": 0, "n_probs": 0},
    {"dry_multiplier": 0.0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_sequence_breakers": ["\n"]},
    {"xtc_probability": 0, "xtc_threshold": 0.1, "dynatemp_range": 0, "dynatemp_exponent": 1},
    {"samplers": ["penalties", "top_k", "typ_p", "top_p", "min_p", "temperature"]},
    # vLLM's and OpenRouter's
    {"min_tokens": 0, "skip_special_tokens": True, "spaces_between_special_tokens": True},
    {"stop_token_ids": [], "bad_words": [], "use_beam_search": False, "length_penalty": 1.0},
    {"add_generation_prompt": True, "echo": False, "include_stop_str_in_output": False},
    {"priority": 1, "provider": {"order": ["x"]}, "transforms": [], "usage": {"include": True}, "ttl": 300},
    {"include_reasoning": True, "reasoning": {}, "guided_decoding_backend": "xgrammar"},
    {"reasoning_budget": -1},
    {"continue_final_message": False, "add_generation_prompt": True},
]


@pytest.mark.parametrize("fields", NO_EFFECT, ids=str)
def test_what_names_a_resource_or_a_default_changes_nothing(fields: dict[str, Any]) -> None:
    """Clients send them without being asked to; the answer is the same with or without."""
    call = chat(**fields)
    plain = chat()
    assert {name: getattr(call, name) for name in call.__struct_fields__ if name != "num_ctx"} == {
        name: getattr(plain, name) for name in plain.__struct_fields__ if name != "num_ctx"
    }
    completion(
        **{
            name: value
            for name, value in fields.items()
            if name not in ("echo", "reasoning", "reasoning_budget")
        }
    )


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"n_predict": 5}, {"max_tokens": 5}),
        ({"num_predict": -1}, {"max_tokens": -1}),
        ({"max_new_tokens": 5}, {"max_tokens": 5}),
        ({"max_output_tokens": 5}, {"max_completion_tokens": 5}),
        ({"repetition_penalty": 1.1}, {"repeat_penalty": 1.1}),
        ({"typ_p": 0.5}, {"typical_p": 0.5}),
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
        ({"random_seed": 5}, {"seed": 5}),
        ({"options": {"temperature": 0, "num_predict": 9, "stop": ["x"]}}, {"temperature": 0, "max_tokens": 9, "stop": "x"}),
        ({"options": {"top_k": 5}, "top_k": 5}, {"top_k": 5}),
        ({"samplers": ["temperature"]}, {"top_k": 0, "typical_p": 1.0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0,
                                         "presence_penalty": 0.0, "frequency_penalty": 0.0}),
        ({"enable_thinking": False}, {"reasoning_effort": "none"}),
        ({"think": False}, {"reasoning_effort": "none"}),
        ({"think": "low"}, {"reasoning_effort": "low"}),
        ({"think": True}, {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 100}},
         {"thinking_budget": 100, "chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
        ({"reasoning": {"effort": "high", "exclude": False}}, {"reasoning_effort": "high"}),
        ({"reasoning": {"max_tokens": 100}}, {"thinking_budget": 100}),
        ({"reasoning": {"enabled": False}}, {"reasoning_effort": "none"}),
        ({"reasoning_budget": 0}, {"thinking_budget": 0}),
        ({"thinking_token_budget": 50}, {"thinking_budget": 50}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        ({"format": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}),
        ({"guided_json": SCHEMA}, {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}),
        ({"guided_json": '{"type": "null"}'},
         {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}}),
        ({"guided_choice": ["a", "b"]}, {"response_format": {"type": "choice", "choices": ["a", "b"]}}),
        ({"guided_regex": "a+"}, {"response_format": {"type": "regex", "pattern": "a+"}}),
        ({"guided_grammar": 'root ::= "a"'}, {"response_format": {"type": "grammar", "grammar": 'root ::= "a"'}}),
        ({"structured_outputs": {"json": SCHEMA}},
         {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}),
        ({"structured_outputs": {"choice": ["a"], "regex": None, "json_object": False}},
         {"response_format": {"type": "choice", "choices": ["a"]}}),
        ({"structured_outputs": {"json_object": True}}, {"response_format": {"type": "json_object"}}),
        ({"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}},
         {"response_format": {"type": "regex", "pattern": "a"}}),
    ],
    ids=str,
)  # fmt: skip
def test_what_other_servers_call_by_another_name_means_ours(
    theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    """The same call comes of both."""
    assert chat(**theirs) == chat(**ours)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"mirostat": 1}, "mirostat"),
    ({"tfs_z": 0.5}, "tfs_z"),
    ({"options": {"mirostat": 2}}, "mirostat"),
    ({"min_tokens": 5}, "min_tokens"),
    ({"stop_token_ids": [1]}, "stop_token_ids"),
    ({"skip_special_tokens": False}, "skip_special_tokens"),
    ({"best_of": 2}, "best_of"),
    ({"echo": True}, "echo"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"reasoning_format": "none"}, "reasoning_format"),
    ({"xtc_probability": 0.5}, "xtc_probability"),
    ({"include_reasoning": False}, "include_reasoning"),
    ({"extra_body": {"top_k": 1}}, "extra_body"),
    ({"chat_template": "{{ x }}"}, "chat_template"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=str)
def test_what_would_change_the_answer_and_is_not_there_is_refused(fields: dict[str, Any], param: str) -> None:
    """By name: the caller would take the answer for what was asked."""
    with pytest.raises(UnsupportedParameter) as e:
        chat(**fields)
    assert e.value.param == param
    assert e.value.hint == foreign_fields.HINTS.get(param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"think": 5}, "think"),
        ({"enable_thinking": "yes"}, "enable_thinking"),
        ({"reasoning": {"efort": "low"}}, "reasoning.efort"),
        ({"reasoning": {"exclude": True}}, "reasoning.exclude"),
        ({"reasoning": []}, "reasoning"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "reasoning.effort"),
        ({"options": 5}, "options"),
        ({"options": {"top_k": 5}, "top_k": 6}, "options.top_k"),
        ({"options": {"top_k": "5"}}, "top_k"),
        ({"structured_outputs": []}, "structured_outputs"),
        ({"structured_outputs": {}}, "structured_outputs"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_regex"),
        ({"n_predict": 5, "max_tokens": 6}, "n_predict"),
    ],
    ids=str,
)
def test_a_foreign_field_that_makes_no_sense_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    """As any of ours."""
    with pytest.raises(InvalidRequest) as e:
        chat(**fields)
    assert e.value.param == param


@pytest.mark.parametrize("fields", [{"num_ctxx": 4}, {"options": {"num_ctxx": 4}}, {"n_predcit": 5}])
def test_a_mistyped_foreign_field_is_refused(fields: dict[str, Any]) -> None:
    """As one of ours."""
    with pytest.raises(UnknownParameter):
        chat(**fields)


@pytest.mark.parametrize("fields", [{"num_thraed": 4}, {"options": {"num_thraed": 4}}, {"keepalive_": 5}])
def test_a_mistyped_field_without_effect_is_ignored_like_the_right_one(fields: dict[str, Any]) -> None:
    """It changes nothing either way."""
    assert chat(**fields) == chat()


def test_fields_of_editors_and_embedders_are_known_too() -> None:
    """The same rules for each route."""
    infill = {"input_prefix": "", "input_suffix": ""}
    editor = {**infill, "keep_alive": 5, "t_max_prompt_ms": 9, "options": {"num_predict": 3}}
    assert validate(InfillRequest, editor).max_tokens == 3
    assert validate(EmbeddingsRequest, {"input": "x", "keep_alive": 5, "normalize": True}).input == ["x"]
    with pytest.raises(UnsupportedParameter) as e:
        validate(EmbeddingsRequest, {"input": "x", "input_type": "query"})
    assert "prefix" in (e.value.hint or "")


def test_marks_for_a_provider_s_cache_are_taken() -> None:
    """In messages, in parts and in tools; and what another server calls the thoughts."""
    mark = {"cache_control": {"type": "ephemeral"}}
    part = {"type": "text", "text": "Hi", **mark}
    tool = {"type": "function", "function": {"name": "f"}, **mark}
    thought = {"role": "assistant", "content": "x", "reasoning": "Hm", "reasoning_details": [{"type": "x"}]}
    call = chat(messages=[{"role": "user", "content": [part]}, {**thought, **mark}, USER], tools=[tool])
    assert [message.content for message in call.messages] == ["Hi", "x", "Hi"]
    assert call.messages[1].reasoning == "Hm"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    model = replace(INFO, ctx=2048)
    with serving(Scripted("Hello", info=model)) as found:
        yield found


@pytest.mark.parametrize("name", ["num_ctx", "n_ctx", "context_length"])
def test_a_context_may_be_asked_for_up_to_the_one_that_there_is(served: Served, name: str) -> None:
    """More is refused with the setting that would give it, or with what the model was trained for."""
    fields: dict[str, Any]
    for ask in (served.chat, served.complete):
        fields = {name: 2048}
        assert ask(**fields).status_code == 200
        for size, hint in (
            (2049, "ctx = 2049 in the configuration file"),
            (INFO.n_ctx_train, "ctx = 4096"),
            (INFO.n_ctx_train + 1, "the model was trained for 4096"),
        ):
            fields = {name: size}
            refused = ask(**fields)
            assert (refused.status_code, error(refused)["param"]) == (400, "num_ctx")
            assert hint in error(refused)["hint"]


def test_no_name_is_both_accepted_and_refused() -> None:
    """The tables do not contradict each other or our own fields."""
    tables = (foreign_fields.ACCEPTED, set(foreign_fields.UNSUPPORTED), set(foreign_fields.SYNONYMS))
    assert sum(map(len, tables)) == len(frozenset().union(*tables))
    assert set(foreign_fields.SYNONYMS.values()) <= set(ChatRequest.model_fields)
    known = {*foreign_fields.UNSUPPORTED, *foreign_fields.EMBEDDING_UNSUPPORTED}
    assert set(foreign_fields.HINTS) <= known
