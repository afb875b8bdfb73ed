"""POST /api/chat, against a model that follows a script."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from edgeinfer.errors import WorkerDied
from edgeinfer.inference.structured_output import ThinkingBudget
from tests.support.ollama import CALL, HI, THINKING, TOOL, lines, scripted, send
from tests.support.server import serving

PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


def test_an_answer_is_streamed_as_lines_unless_the_request_says_no() -> None:
    """The last one has the reason and the figures, in nanoseconds."""
    with serving(scripted("Hel", "lo")) as served:
        *chunks, last = lines(send(served, "/api/chat", messages=HI))
        whole = send(served, "/api/chat", messages=HI, stream=False).json()
    assert ["Hel", "lo"] == [chunk["message"]["content"] for chunk in chunks]
    assert [False, False, True] == [chunk["done"] for chunk in [*chunks, last]]
    assert {"scripted"} == {chunk["model"] for chunk in [*chunks, last]}
    assert {"role": "assistant", "content": "Hello"} == whole["message"]
    for end in (last, whole):
        assert ("stop", 5, 2) == (end["done_reason"], end["prompt_eval_count"], end["eval_count"])
        assert (10_000_000, 20_000_000) == (end["prompt_eval_duration"], end["eval_duration"])
        assert end["total_duration"] >= end["load_duration"] > 0
        assert datetime.fromisoformat(end["created_at"]).tzinfo


def test_a_call_is_whole_and_has_a_line_of_its_own_before_the_last() -> None:
    """Its arguments are an object. Each of several calls has an index."""
    with serving(scripted("Let me see. ", *CALL, "\n", *CALL)) as served:
        *_, first, second, last = lines(send(served, "/api/chat", messages=HI, tools=[TOOL]))
        whole = send(served, "/api/chat", messages=HI, tools=[TOOL], stream=False).json()
    calls = first["message"]["tool_calls"] + second["message"]["tool_calls"]
    function = {"name": "get_time", "arguments": {"zone": "UTC"}}
    assert [{"index": 0, **function}, {"index": 1, **function}] == [call["function"] for call in calls]
    assert (True, "stop") == (last["done"], last["done_reason"])
    assert "tool_calls" not in last["message"]
    assert [call["function"] for call in calls] == [c["function"] for c in whole["message"]["tool_calls"]]
    assert "Let me see." == whole["message"]["content"].strip()


def test_a_call_that_was_cut_is_not_made() -> None:
    """Nobody could tell which arguments are missing; the reason says that it was cut."""
    with serving(scripted(*CALL[:2])) as served:
        whole = send(served, "/api/chat", messages=HI, tools=[TOOL], stream=False).json()
    assert "tool_calls" not in whole["message"]


@pytest.mark.parametrize(
    "result",
    [
        {"tool_name": "get_time"},
        {"tool_call_id": "call_1"},
        {},
    ],
    ids=["by its name", "by its id", "by its place"],
)
def test_a_result_finds_its_call(result: dict[str, Any]) -> None:
    """Home Assistant sends neither a name nor an id."""
    call = {"function": {"name": "get_time", "arguments": {"zone": "UTC"}}}
    asked = [
        *HI,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "12:00", **result},
    ]
    model = scripted("It is noon.")
    with serving(model) as served:
        response = send(served, "/api/chat", messages=asked, tools=[TOOL], stream=False)
    assert "It is noon." == response.json()["message"]["content"]
    prompt = "".join(span.text for span in model.requests[0][0])  # type: ignore[union-attr]
    assert "12:00" in prompt
    assert "get_time" in prompt


def test_thoughts_have_a_field_of_their_own() -> None:
    """In the stream and in the whole answer."""
    with serving(scripted("Hm", ", so.\n</th", "ink>\n\nIt is", " 4.", template=THINKING)) as served:
        chunks = lines(send(served, "/api/chat", messages=HI))
        whole = send(served, "/api/chat", messages=HI, think=True, stream=False).json()
    thoughts = "".join(chunk["message"].get("thinking", "") for chunk in chunks)
    assert "Hm, so." == thoughts.strip() == whole["message"]["thinking"].strip()
    assert "It is 4." == "".join(c["message"]["content"] for c in chunks) == whole["message"]["content"]


@pytest.mark.parametrize(("think", "tokens"), [("low", 512), ("medium", 1024), ("high", 2048)])
def test_an_effort_limits_the_thoughts(think: str, tokens: int) -> None:
    """To a share of the context."""
    model = scripted("Hm.\n</think>\n\nYes.", template=THINKING)
    with serving(model) as served:
        send(served, "/api/chat", messages=HI, think=think, stream=False)
        budget = model.structured.thinking
        assert isinstance(budget, ThinkingBudget)
        assert tokens == budget.tokens
        send(served, "/api/chat", messages=HI, think="max", stream=False)
        assert model.structured.thinking is None
        send(served, "/api/chat", messages=HI, think=False, stream=False)
    assert "</think>" in "".join(span.text for span in model.requests[-1][0])  # type: ignore[union-attr]


def test_a_model_that_cannot_think_says_so() -> None:
    """As Ollama does; whoever asks for no thoughts gets an answer."""
    with serving(scripted("Yes.")) as served:
        refused = send(served, "/api/chat", messages=HI, think=True)
        assert 200 == send(served, "/api/chat", messages=HI, think=False).status_code
    assert (400, {"error": '"scripted" does not support thinking'}) == (refused.status_code, refused.json())


@pytest.mark.parametrize(("form", "constrained"), [("", False), ("json", True), (PERSON, True)])
def test_a_format_is_enforced(form: Any, constrained: bool) -> None:
    """An empty one is none."""
    model = scripted('{"age": 7}')
    with serving(model) as served:
        response = send(served, "/api/chat", messages=HI, format=form, stream=False)
    assert {"age": 7} == json.loads(response.json()["message"]["content"])
    assert constrained == bool(model.structured.grammar)


def test_options_are_mapped_and_the_rest_of_them_is_ignored() -> None:
    """Those for loading, those that nobody knows, and numbers with a fraction where none belongs."""
    model = scripted("Hi")
    options = {
        "temperature": -1,
        "top_k": 40.0,
        "top_p": 1.5,
        "min_p": 0.1,
        "seed": 7,
        "num_predict": 12,
        "stop": ["END"],
        "repeat_last_n": -1,
        "presence_penalty": 3,
        "num_ctx": 1_000_000,
        "num_gpu": 99,
        "use_mmap": None,
        "tfs_z": 1.0,
        "no_such_option": [],
    }
    with serving(model) as served:
        response = send(served, "/api/chat", messages=HI, options=options, stream=False)
    assert 200 == response.status_code
    params = model.requests[0][1]
    assert (0.0, 40, 1.0, 0.1, 7) == (
        params.temperature,
        params.top_k,
        params.top_p,
        params.min_p,
        params.seed,
    )
    assert (12, ("END",), -1, 3.0) == (
        params.max_tokens,
        params.stop,
        params.repeat_last_n,
        params.presence_penalty,
    )


@pytest.mark.parametrize("num_predict", [0, -1, -2])
def test_a_number_of_tokens_that_is_not_positive_is_no_limit(num_predict: int) -> None:
    model = scripted("Hi")
    with serving(model) as served:
        send(served, "/api/chat", messages=HI, options={"num_predict": num_predict})
    assert model.requests[0][1].max_tokens is None


def test_logprobs_come_with_their_text() -> None:
    """In the chunk, or all together."""
    with serving(scripted("Hi", "!")) as served:
        chunks = lines(send(served, "/api/chat", messages=HI, logprobs=True, top_logprobs=2))
        whole = send(served, "/api/chat", messages=HI, logprobs=True, stream=False).json()
        assert 400 == send(served, "/api/chat", messages=HI, logprobs=True, top_logprobs=21).status_code
    tokens = [token for chunk in chunks for token in chunk.get("logprobs", [])]
    assert {"token": "H", "logprob": -0.5, "bytes": [72]} == tokens[0]
    assert ["H", "i", "!"] == [token["token"] for token in tokens]
    assert tokens == whole["logprobs"]


def test_images_are_refused_with_what_to_do() -> None:
    asked = [{"role": "user", "content": "What is this?", "images": ["aGk="]}]
    with serving(scripted("Hi")) as served:
        response = send(served, "/api/chat", messages=asked)
    assert 400 == response.status_code
    assert "leave the images out" in response.json()["error"]


def test_an_error_in_the_middle_is_the_last_line() -> None:
    """The status is out by then. Before the first line, the status says it."""
    model = scripted("Hel", "lo")

    def die() -> None:
        raise WorkerDied("the worker crashed")

    with serving(model) as served:
        model.before_last = die
        chunks = lines(send(served, "/api/chat", messages=HI))
        model.before_first = die
        refused = send(served, "/api/chat", messages=HI)
    assert ["Hel"] == [chunk["message"]["content"] for chunk in chunks[:-1]]
    assert {"error": "the worker crashed"} == chunks[-1] == refused.json()
    assert 500 == refused.status_code


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model": "nope"}, 404),
        ({"model": ""}, 400),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400),
        ({"messages": "Hi"}, 400),
        ({"options": []}, 400),
        ({"options": {"temperature": "hot"}}, 400),
        ({"format": "xml"}, 400),
        ({"think": "a lot"}, 400),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, 400),
        ({"keep_alive": "soon"}, 400),
        ({"keep_alive": True}, 400),
    ],
)
def test_errors_have_ollama_s_shape(fields: dict[str, Any], status: int) -> None:
    """An object with a text, in a stream or not."""
    with serving(scripted("Hi")) as served:
        response = send(served, "/api/chat", **{"messages": HI, **fields})
    assert status == response.status_code
    assert ["error"] == list(response.json())
    assert "application/json" == response.headers["content-type"]


def test_unknown_fields_and_nulls_are_no_error() -> None:
    """Nor is a role in capitals."""
    asked = [{"ROLE": "x", "role": "USER", "content": "Hi", "images": None, "tool_calls": None}]
    with serving(scripted("Hi")) as served:
        response = send(served, "/api/chat", messages=asked, options=None, tools=None, shift=True, sparkle=1)
    assert "Hi" == lines(response)[0]["message"]["content"]


def test_an_old_beginning_is_left_out_where_the_context_is_full() -> None:
    """Unless the request says that it must not be. System messages stay, and so does the last question."""
    turns = [
        {"role": role, "content": f"{role} {n} " + "x" * 100}
        for n in range(30)
        for role in ("user", "assistant")
    ]
    asked = [{"role": "system", "content": "Be brief."}, *turns, {"role": "user", "content": "the last"}]
    model = scripted("Hi", ctx=2048)
    with serving(model) as served:
        assert 200 == send(served, "/api/chat", messages=asked, stream=False).status_code
        prompt = "".join(span.text for span in model.requests[0][0])  # type: ignore[union-attr]
    assert prompt.startswith("[system]Be brief.\n[user]user ")
    assert "user 0 " not in prompt
    assert prompt.endswith("[user]the last\n[assistant]")
    assert 2048 * 3 // 4 - 300 < len(prompt) <= 2048 * 3 // 4
