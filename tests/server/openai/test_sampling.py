"""How the sampling fields of a request become what the sampler gets."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.server.http.request_model import validate
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.serving.sampling import resolve_sampling
from tests.support.server import INFO


def chat(**fields: Any) -> ChatRequest:
    return validate(ChatRequest, {"messages": [{"role": "user", "content": "Hi"}], **fields})


def params(**fields: Any) -> SamplingParams:
    request = chat(**fields)
    return resolve_sampling(request.sampling(request.token_limit(), request.logprob_count()), INFO)


def test_absent_values_come_from_the_model_file_then_from_the_defaults() -> None:
    """The file knows its model better than we do; the caller knows best."""
    assert (params().temperature, params().top_k) == (0.6, 20)
    assert isinstance(params().top_k, int)
    assert params(temperature=0.1).temperature == 0.1
    assert params().top_p == SamplingParams().top_p


def test_every_sampling_field_arrives() -> None:
    """The sampler gets what the request says."""
    sampling: dict[str, Any] = {
        "temperature": 1.5,
        "top_k": 5,
        "typical_p": 0.9,
        "top_p": 0.5,
        "min_p": 0.2,
        "repeat_penalty": 1.1,
        "repeat_last_n": 32,
        "presence_penalty": 0.3,
        "frequency_penalty": -0.3,
        "seed": 42,
        "ignore_eos": True,
    }
    more = {
        "max_tokens": 9,
        "logit_bias": {"65": -100},
        "stop": ["a", "b"],
        "logprobs": True,
        "top_logprobs": 3,
    }
    expected = SamplingParams(**sampling, max_tokens=9, logit_bias={65: -100.0}, stop=("a", "b"), logprobs=3)
    assert params(**sampling, **more) == expected


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"repetition_penalty": 1.2}, "repeat_penalty", 1.2),
        ({"max_completion_tokens": 7}, "max_tokens", 7),
        ({"max_tokens": -1}, "max_tokens", None),
        ({"top_k": -1}, "top_k", 0),
        ({"seed": -1}, "seed", None),
        ({"seed": 0}, "seed", 0),
        ({"stop": "end"}, "stop", ("end",)),
        ({"logprobs": True}, "logprobs", 0),
        ({}, "logprobs", None),
    ],
)
def test_other_ways_to_say_it_are_understood(fields: dict[str, Any], name: str, value: object) -> None:
    """Names and values that local users know."""
    assert getattr(params(**fields), name) == value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"repetition_penalty": 1.2, "repeat_penalty": 1.1}, "repetition_penalty"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"258": 1}}, "logit_bias.258"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], param: str) -> None:
    """Guessing which of two values is meant would be wrong half the time."""
    with pytest.raises(InvalidRequest) as e:
        params(**fields)
    assert e.value.param == param


@pytest.mark.parametrize(
    "fields",
    [
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_obfuscation": True}},
    ],
)
def test_stream_options_that_cannot_be_kept_are_refused(fields: dict[str, Any]) -> None:
    """Without a stream they mean nothing; obfuscation is a promise we do not make."""
    with pytest.raises(InvalidRequest) as e:
        chat(**fields).check_stream()
    assert str(e.value.param).startswith("stream_options")
