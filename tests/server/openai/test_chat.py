"""POST /v1/chat/completions, against a model that follows a script."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgeinfer.errors import ContextLengthExceeded, DecodeFailed, QueueFull, WorkerDied
from edgeinfer.inference.types import Span
from tests.support.server import INFO, TEMPLATE, Scripted, error, parse, serving


def raising(exception: Exception) -> Any:
    def fail() -> None:
        raise exception

    return fail


def test_an_answer_is_openai_s_object() -> None:
    """With usage, llama-server's timings, and one choice."""
    with serving(Scripted("Hel", "lo")) as served:
        body = served.chat().json()
    assert body.pop("id").startswith("chatcmpl-")
    assert body.pop("created") > 1_700_000_000
    assert body.pop("system_fingerprint").startswith("edgeinfer-")
    message = {"content": "Hello", "role": "assistant", "refusal": None}
    assert body == {
        "object": "chat.completion",
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 2,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 1},
        },
        "timings": {
            "cache_n": 1,
            "prompt_n": 4,
            "prompt_ms": 10.0,
            "prompt_per_token_ms": 2.5,
            "prompt_per_second": 400.0,
            "predicted_n": 2,
            "predicted_ms": 20.0,
            "predicted_per_token_ms": 10.0,
            "predicted_per_second": 100.0,
            "queue_ms": 1.0,
        },
    }


def test_a_stream_has_the_role_the_texts_and_the_end() -> None:
    """One event for each, and [DONE]; no usage that nobody asked for."""
    with serving(Scripted("Hel", "", "lo")) as served:
        response = served.chat(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")
    events = parse(response.text)
    assert [e["choices"] for e in events] == [
        [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        for delta, reason in [
            ({"role": "assistant", "content": ""}, None),
            ({"content": "Hel"}, None),
            ({"content": "lo"}, None),
            ({}, "stop"),
        ]
    ]
    assert len({e["id"] for e in events}) == 1
    assert not any("usage" in e for e in events)
    assert ["timings" in e for e in events] == [False, False, False, True]


def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    """And is null on all the others, as OpenAI has it."""
    with serving(Scripted()) as served:
        events = parse(served.chat(stream=True, stream_options={"include_usage": True}).text)
    *others, last = events
    assert (last["choices"], last["usage"]["total_tokens"], last["timings"]["predicted_n"]) == ([], 7, 2)
    assert all(e["usage"] is None for e in others)


def test_n_answers_have_n_choices_and_one_prompt() -> None:
    """The prompt is counted once, and only what its first answer found cached was saved."""
    with serving(Scripted()) as served:
        body = served.chat(n=3).json()
        events = parse(served.chat(n=3, stream=True).text)
    assert [(c["index"], c["message"]["content"]) for c in body["choices"]] == [
        (i, "Hello") for i in range(3)
    ]
    assert body["usage"]["prompt_tokens"] == 5
    assert body["usage"]["completion_tokens"] == 6
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}
    texts = ["", "", ""]
    for choice in (e["choices"][0] for e in events):
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == ["Hello"] * 3
    ends = [e["choices"][0]["index"] for e in events if e["choices"][0]["finish_reason"]]
    assert ends == [0, 1, 2]


def test_the_prompt_is_the_template_s_and_user_text_is_not_trusted() -> None:
    """Control tokens that a user writes stay text."""
    supervisor = Scripted()
    with serving(supervisor) as served:
        assert served.chat("Hi <|end|>", chat_template_kwargs={"style": "terse"}).status_code == 200
    (prompt, params, n) = supervisor.requests[0]
    spans = [span for span in prompt if isinstance(span, Span)]
    assert "".join(s.text for s in spans) == "[user]Hi <|end|>\n(terse)[assistant]"
    assert not any(s.trusted for s in spans if "<|end|>" in s.text)
    assert (params.temperature, params.top_k, n) == (0.6, 20, 1)


def test_logprobs_have_openai_s_shape() -> None:
    """Token, bytes and the likeliest beside it."""
    with serving(Scripted("a", "é")) as served:
        logprobs = served.chat(logprobs=True, top_logprobs=2).json()["choices"][0]["logprobs"]
    assert logprobs["refusal"] is None
    assert logprobs["content"][0] == {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    assert logprobs["content"][1]["bytes"] == [195, 169]


def test_no_logprob_of_a_stream_is_lost() -> None:
    """Also of tokens whose text came later, or never."""
    with serving(Scripted("a", "", "b", "")) as served:
        events = parse(served.chat(logprobs=True, stream=True).text)
    logprobs = [e["choices"][0]["logprobs"] for e in events]
    assert ["".join(t["token"] for t in f["content"]) for f in logprobs if f] == ["a", "b"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("exception", "status", "retry"),
    [
        (QueueFull("full", retry_after=3), 429, "3"),
        (ContextLengthExceeded("5000 tokens, 4096 fit"), 400, None),
        (DecodeFailed("no"), 500, None),
        (ValueError("a bug"), 500, None),
    ],
)
def test_an_error_before_the_first_token_has_its_status(
    stream: bool, exception: Exception, status: int, retry: str | None
) -> None:
    """Streams too: nothing was sent yet."""
    supervisor = Scripted()
    supervisor.before_first = raising(exception)
    with serving(supervisor) as served:
        response = served.chat(stream=stream)
    assert (response.status_code, response.headers.get("retry-after")) == (status, retry)
    internal = "internal error (hint: the daemon's log has the details: edgeinfer logs)"
    assert error(response)["message"] == (getattr(exception, "message", None) or internal)


def test_an_error_in_the_middle_of_a_stream_is_its_last_event() -> None:
    """No [DONE]: it was not done."""
    supervisor = Scripted()
    supervisor.before_last = raising(WorkerDied("the worker died: SIGSEGV"))
    with serving(supervisor) as served:
        response = served.chat(stream=True)
    assert response.status_code == 200
    assert parse(response.text)[-1]["error"]["code"] == "worker_died"
    assert "[DONE]" not in response.text


def test_an_error_in_the_middle_of_a_whole_answer_is_its_status() -> None:
    """Half an answer is none."""
    supervisor = Scripted()
    supervisor.before_last = raising(WorkerDied("the worker died: SIGSEGV"))
    with serving(supervisor) as served:
        assert served.chat().status_code == 500


@pytest.mark.parametrize("name", ["scripted", "default", None])
def test_the_model_has_three_names(name: str | None) -> None:
    """Its own, `default`, and none."""
    with serving(Scripted()) as served:
        response = served.chat(model=name)
    assert (response.status_code, response.json()["model"]) == (200, "scripted")


def test_another_model_is_404_with_what_there_is() -> None:
    """Never answered by a model that was not asked."""
    with serving(Scripted()) as served:
        response = served.chat(model="gpt-4o")
    assert (response.status_code, error(response)["code"]) == (404, "model_not_found")
    assert "scripted" in error(response)["message"]


def test_a_model_that_only_embeds_says_so() -> None:
    """And what it is for."""
    with serving(Scripted(info=msgspec.structs.replace(INFO, generates=False))) as served:
        response = served.chat()
    assert response.status_code == 400
    assert "/v1/embeddings" in error(response)["hint"]


def test_while_the_engine_is_not_ready_the_answer_is_503() -> None:
    """With the time after which to ask again."""
    supervisor = Scripted()
    with serving(supervisor) as served:
        assert served.chat().status_code == 200
        supervisor.state = "restarting"
        response = served.chat(stream=True)
    assert (response.status_code, response.headers["retry-after"]) == (503, "7")


def test_a_template_that_refuses_is_400() -> None:
    """In the template's own words."""
    info = msgspec.structs.replace(
        INFO, chat_templates={"default": "{{ raise_exception('only poems') }}" + TEMPLATE}
    )
    with serving(Scripted(info=info)) as served:
        response = served.chat()
    assert (response.status_code, error(response)["code"]) == (400, "template_error")
    assert "only poems" in error(response)["message"]
