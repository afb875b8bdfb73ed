"""POST /v1/completions, against a model that follows a script."""

from __future__ import annotations

from edgeinfer.errors import QueueFull
from edgeinfer.inference.output import ChosenLogprob, Logprob
from edgeinfer.inference.types import Span
from edgeinfer.server.openai.logprobs import TextOffsets
from tests.support.server import Scripted, error, parse, serving


def test_a_completion_is_openai_s_object() -> None:
    """The text stands in the choice itself."""
    with serving(Scripted()) as served:
        body = served.complete().json()
    assert (body["object"], body["id"][:5]) == ("text_completion", "cmpl-")
    assert body["choices"] == [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}]
    assert body["usage"]["total_tokens"] == 7


def test_a_stream_of_texts_ends_with_the_reason() -> None:
    """Text and reason may share an event here."""
    with serving(Scripted()) as served:
        response = served.complete(stream=True, stream_options={"include_usage": True})
    *events, last = parse(response.text)
    assert [(e["choices"][0]["text"], e["choices"][0]["finish_reason"]) for e in events] == [
        ("Hel", None),
        ("lo", "stop"),
    ]
    assert last["usage"]["completion_tokens"] == 2
    assert response.text.endswith("data: [DONE]\n\n")


def test_the_caller_s_text_is_trusted() -> None:
    """A prompt written by hand needs its control tokens; the default length is OpenAI's."""
    supervisor = Scripted()
    with serving(supervisor) as served:
        served.complete("<|end|>")
    assert supervisor.requests[0][0] == [Span("<|end|>", trusted=True)]
    assert supervisor.requests[0][1].max_tokens == 16


def test_several_prompts_with_several_answers_are_numbered_through() -> None:
    """Answer i to prompt p is choice p * n + i; each prompt counts once."""
    supervisor = Scripted()
    with serving(supervisor) as served:
        body = served.complete(["a", "b"], n=2).json()
        events = parse(served.complete(["a", "b"], n=2, stream=True).text)
    assert [c["index"] for c in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["prompt_tokens"] == 10
    assert body["usage"]["completion_tokens"] == 8
    assert sorted(e["choices"][0]["index"] for e in events if e["choices"][0]["finish_reason"]) == [
        0,
        1,
        2,
        3,
    ]
    assert [prompt for prompt, _, _ in supervisor.requests[:2]] == [[Span("a")], [Span("b")]]


def test_one_prompt_that_fails_fails_all() -> None:
    """And none of the others goes on unseen."""
    supervisor = Scripted()
    supervisor.hold_each = 0.2

    def fail() -> None:
        if supervisor.running == 3:
            raise QueueFull("full")

    supervisor.before_first = fail
    with serving(supervisor) as served:
        response = served.complete(["a", "b", "c"])
        assert response.status_code == 429
        assert supervisor.running == 0


def test_token_prompts_go_through_as_they_are() -> None:
    """One list or several."""
    supervisor = Scripted()
    with serving(supervisor) as served:
        served.complete([1, 2])
        served.complete([[3], [4]])
    assert sorted(str(prompt) for prompt, _, _ in supervisor.requests) == ["[1, 2]", "[3]", "[4]"]


def test_a_token_outside_the_vocabulary_is_400() -> None:
    """llama.cpp would abort."""
    with serving(Scripted()) as served:
        response = served.complete([[1], [258]])
    assert (response.status_code, error(response)["param"]) == (400, "prompt")


def test_echo_puts_the_prompt_before_the_text() -> None:
    """Also a prompt of tokens, and in a stream as its first event."""
    with serving(Scripted()) as served:
        whole = served.complete("Say: ", echo=True).json()["choices"][0]["text"]
        tokens = served.complete([65, 66], echo=True).json()["choices"][0]["text"]
        events = parse(served.complete("Say: ", echo=True, stream=True).text)
    assert (whole, tokens) == ("Say: Hello", "ABHello")
    assert [e["choices"][0]["text"] for e in events] == ["Say: ", "Hel", "lo"]


def test_logprobs_are_four_lists() -> None:
    """The legacy form; offsets run on through a stream."""
    with serving(Scripted("ab", "c")) as served:
        logprobs = served.complete(logprobs=2).json()["choices"][0]["logprobs"]
        events = parse(served.complete(logprobs=0, stream=True).text)
    assert logprobs == {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [-0.5, -0.5, -0.5],
        "top_logprobs": [{"a": -0.5}, {"b": -0.5}, {"c": -0.5}],
        "text_offset": [0, 1, 2],
    }
    streamed = [e["choices"][0]["logprobs"] for e in events]
    assert [s["text_offset"] for s in streamed] == [[0, 1], [2]]
    assert streamed[0]["top_logprobs"] is None


def test_offsets_count_characters_when_tokens_are_halves_of_them() -> None:
    """A token that is no character on its own is written in escapes, as OpenAI does."""
    pieces = [b"\xc3", b"\xa9", b"x"]
    logprobs = TextOffsets().convert([ChosenLogprob(Logprob(0, p, -1.0), []) for p in pieces], top=1)
    assert logprobs.text_offset == [0, 0, 1]
    assert logprobs.tokens == ["\\xc3", "\\xa9", "x"]
