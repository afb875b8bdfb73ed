"""POST /infill and `suffix`: against a model that follows a script, and against the bundled one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import InvalidRequest, UnknownParameter, UnsupportedParameter
from edgeinfer.inference.types import FimTokens, Span
from edgeinfer.server.http.request_model import validate
from edgeinfer.server.llama_server.infill_response import select
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.serving.sampling import resolve_sampling
from tests.support.server import INFO, Scripted, Served, error, eventually, parse, serving

FIM = FimTokens(prefix=1, suffix=2, middle=3, repo=4, file=5)
CODER = msgspec.structs.replace(INFO, fim=FIM)

LLAMA_VIM = {
    "id_slot": 0,
    "input_prefix": "def f():\n",
    "input_suffix": "\nf()\n",
    "input_extra": [{"text": "x = 1\n", "time": [1, 2], "filename": "x.py"}],
    "prompt": "    return",
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.90,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": [
        "content",
        "timings/prompt_n",
        "timings/prompt_ms",
        "timings/prompt_per_token_ms",
        "timings/prompt_per_second",
        "timings/predicted_n",
        "timings/predicted_ms",
        "timings/predicted_per_token_ms",
        "timings/predicted_per_second",
        "truncated",
        "tokens_cached",
    ],
    "model": "",
}
"""What the plugin asks while one types."""

WARM_UP = {
    "id_slot": 0,
    "input_prefix": "",
    "input_suffix": "",
    "input_extra": [{"text": "x = 1\n", "time": [1, 2], "filename": "x.py"}],
    "prompt": "",
    "n_predict": 0,
    "temperature": 0.0,
    "samplers": [],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 1,
    "t_max_predict_ms": 1,
    "response_fields": [""],
}
"""And what it asks to have its extra files in the cache by then."""


def coder(*pieces: str, ctx: int = 4096) -> Scripted:
    return Scripted(*pieces, info=msgspec.structs.replace(CODER, ctx=ctx))


def fill(served: Served, prefix: str = "a", suffix: str = "b", **fields: Any) -> httpx.Response:
    return served.client.post("/infill", json={"input_prefix": prefix, "input_suffix": suffix, **fields})


def infill_request(**fields: Any) -> InfillRequest:
    return validate(InfillRequest, {"input_prefix": "a", "input_suffix": "b", **fields})


def span(text: str) -> Span:
    return Span(text, trusted=False)


# --- the answer


def test_an_answer_has_llama_server_s_fields() -> None:
    """Counts, timings and why it ended."""
    with serving(coder()) as served:
        body = fill(served).json()
    timings = body.pop("timings")
    assert body == {
        "content": "Hello",
        "model": "scripted",
        "tokens_predicted": 5,
        "truncated": False,
        "stop_type": "eos",
        "stopping_word": "",
        "stop": True,
        "tokens_evaluated": 5,
        "tokens_cached": 1,
    }
    assert (timings["prompt_n"], timings["predicted_n"], timings["prompt_ms"]) == (4, 5, 10.0)


def test_a_stream_has_pieces_and_the_figures_in_the_last() -> None:
    """Which says `stop`; [DONE] is OpenAI's."""
    with serving(coder()) as served:
        response = fill(served, stream=True)
    assert "[DONE]" not in response.text
    *pieces, last = parse(response.text)
    assert pieces == [{"content": "Hel", "stop": False}, {"content": "lo", "stop": False}]
    assert (last["content"], last["stop"], last["stop_type"], last["tokens_predicted"]) == (
        "",
        True,
        "eos",
        5,
    )


def test_llama_vim_is_answered_as_it_asks() -> None:
    """With the fields it names, and no others."""
    supervisor = coder("    1")
    with serving(supervisor) as served:
        response = served.client.post("/infill", json=LLAMA_VIM)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["content"], answer["truncated"], answer["tokens_cached"]) == ("    1", False, 1)
    assert answer["timings/prompt_n"] == 4
    assert LLAMA_VIM["response_fields"] == list(answer)


def test_a_limit_of_0_reads_the_prompt_and_answers_nothing() -> None:
    """The extra files are in the cache then."""
    supervisor = coder("x")
    with serving(supervisor) as served:
        assert served.client.post("/infill", json=WARM_UP).json() == {}
        body = served.client.post("/infill", json={**WARM_UP, "response_fields": None}).json()
        events = parse(fill(served, n_predict=0, stream=True).text)
    assert (body["content"], body["tokens_predicted"], body["stop_type"]) == ("", 0, "limit")
    assert (body["tokens_evaluated"], body["timings"]["predicted_n"]) == (5, 0)
    assert [e["content"] for e in events] == [""]
    prompt, params, _ = supervisor.requests[0]
    assert (prompt[0], prompt[1], params.max_tokens) == (span(""), FIM.repo, 1)


def test_fields_are_chosen_by_their_way_through_the_answer() -> None:
    """What is not there is left out."""
    answer = {"a": 1, "b": {"c": 2}}
    assert select(["a", "b/c", "b/d", "a/c", "", "x"], answer) == {"a": 1, "b/c": 2}


# --- the prompt


def test_the_caller_s_text_is_not_trusted() -> None:
    """A file that is about control tokens has none."""
    supervisor = coder()
    with serving(supervisor) as served:
        fill(served, "<|end|>", "c", prompt="b", input_extra=[{"text": "t", "filename": "f"}])
    extra = [4, span("myproject\n"), 5, span("f\nt"), 5, span("filename\n")]
    assert supervisor.requests[0][0] == [span(""), *extra, 1, span("<|end|>"), 2, span("c"), 3, span("b")]


def test_what_does_not_fit_is_cut_and_said_to_be() -> None:
    """The context is 400 tokens, of which the prompt gets 300. Here a token is a byte."""
    supervisor = coder(ctx=400)
    prefix, suffix = "before\n" * 100, "after\n" * 100
    with serving(supervisor) as served:
        body = fill(served, prefix, suffix, input_extra=[{"text": "x"}]).json()
    assert body["truncated"]
    prompt = list(supervisor.requests[0][0])
    assert prompt[:2] == [span(""), FIM.prefix]
    middle = prompt.index(FIM.suffix)
    sides = [
        bytes(t for t in part if isinstance(t, int)).decode()
        for part in (prompt[2:middle], prompt[middle + 1 : -1])
    ]
    assert sides == ["before\n" * 28, "after\n" * 11]


def test_what_fits_once_it_is_counted_is_whole() -> None:
    """Bytes are but a bound."""
    supervisor = coder(ctx=400)
    with serving(supervisor) as served:
        body = fill(served, "a" * 150, "b" * 115, n_predict=100).json()
    assert not body["truncated"]
    assert [97] * 150 == list(supervisor.requests[0][0])[2:152]


def test_a_beginning_that_does_not_fit_is_refused() -> None:
    """It is what stands at the cursor."""
    with serving(coder(ctx=400)) as served:
        response = fill(served, prompt="x" * 1000)
    assert response.status_code == 400
    assert (error(response)["type"], error(response)["param"]) == ("exceed_context_size_error", "prompt")


@pytest.mark.parametrize("suffix", [None, "", "x"])
def test_a_model_without_such_tokens_is_named(suffix: str | None) -> None:
    """With a hint at those that have them."""
    with serving(Scripted()) as served:
        response = fill(served)
        completed = served.complete(suffix=suffix)
    assert (response.status_code, error(response)["param"]) == (400, "model")
    assert "Coder" in error(response)["hint"]
    assert (completed.status_code == 400) == (suffix == "x")
    if suffix:
        assert (error(completed)["code"], error(completed)["param"]) == ("unsupported_parameter", "suffix")


def test_a_completion_with_a_suffix_fills_the_hole_before_it() -> None:
    """Several prompts have it in common; their text is data, as it isn't without a suffix."""
    supervisor = coder()
    with serving(supervisor) as served:
        body = served.complete(["<|end|>", "b"], suffix="c", echo=True).json()
        served.complete([[7, 8]], suffix="c")
    assert [c["text"] for c in body["choices"]] == ["<|end|>Hello", "bHello"]
    assert [prompt for prompt, _, _ in supervisor.requests] == [
        [span(""), 1, span("<|end|>"), 2, span("c"), 3],
        [span(""), 1, span("b"), 2, span("c"), 3],
        [span(""), 1, 7, 8, 2, span("c"), 3],
    ]


# --- the fields


def test_samplers_that_are_not_listed_are_off() -> None:
    """`infill` stands for the likeliest token."""
    all_off = resolve_sampling(infill_request(samplers=[], typical_p=0.5).infill_sampling(), CODER)
    assert (all_off.temperature, all_off.top_k, all_off.top_p, all_off.min_p) == (1.0, 0, 1.0, 0.0)
    assert all_off.typical_p == 1.0
    typical = resolve_sampling(infill_request(samplers=["typ_p"], typical_p=0.5).infill_sampling(), CODER)
    assert typical.typical_p == 0.5
    request = infill_request(samplers=["top_k", "infill"], top_k=5, top_p=0.5, repeat_penalty=2.0)
    some = resolve_sampling(request.infill_sampling(), CODER)
    assert (some.temperature, some.top_k, some.top_p, some.repeat_penalty) == (0.0, 5, 1.0, 1.0)
    assert resolve_sampling(infill_request(top_k=5).infill_sampling(), CODER).temperature == 0.6


@pytest.mark.parametrize(
    ("fields", "limit"),
    [({}, None), ({"n_predict": -1}, None), ({"n_predict": 0}, 0), ({"n_predict": 5, "max_tokens": 5}, 5)],
)
def test_the_limit_has_two_names(fields: dict[str, int], limit: int | None) -> None:
    """llama-server's and OpenAI's."""
    assert infill_request(**fields).token_limit() == limit


@pytest.mark.parametrize(
    ("fields", "param", "kind"),
    [
        ({"n_predict": 5, "max_tokens": 6}, "n_predict", InvalidRequest),
        ({"n": 2}, "n", InvalidRequest),
        ({"samplers": ["tok_k"]}, "samplers[0]", InvalidRequest),
        ({"samplers": "edkypmxt"}, "samplers", InvalidRequest),
        ({"input_extra": [{"filename": "x"}]}, "input_extra[0].text", InvalidRequest),
        ({"input_extra": [{"text": "x", "filname": 1}]}, "input_extra[0].filname", UnknownParameter),
        ({"prompt": [1]}, "prompt", InvalidRequest),
        ({"lora": [{"id": 0, "scale": 0.5}]}, "lora", UnsupportedParameter),
        ({"cache_prompt": False}, "cache_prompt", UnsupportedParameter),
        ({"dry_multiplier": 0.8}, "dry_multiplier", UnsupportedParameter),
        ({"n_indnt": 4}, "n_indnt", UnknownParameter),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    fields: dict[str, Any], param: str, kind: type[InvalidRequest]
) -> None:
    """Never ignored."""
    with pytest.raises(kind) as e:
        infill_request(**fields).token_limit()
    assert e.value.param == param


@pytest.mark.parametrize("field", ["input_prefix", "input_suffix"])
def test_both_sides_of_the_hole_are_needed(field: str) -> None:
    """Empty they may be."""
    with pytest.raises(InvalidRequest, match="missing") as e:
        infill_request(**{field: None})
    assert e.value.param == field


# --- where an answer ends


def test_an_answer_ended_by_its_lines_ends_the_request() -> None:
    """And leaves out what the engine alone knows: it had no time to say it."""
    supervisor = coder("one\n", "two\n", "three")
    supervisor.hold_each = 0.01
    with serving(supervisor) as served:
        body = fill(served, t_max_predict_ms=1).json()
        events = parse(fill(served, n_indent=2, stream=True).text)
        assert eventually(lambda: not supervisor.running)
    assert (body["content"], body["stop_type"], body["tokens_predicted"]) == ("one\ntwo", "limit", 8)
    assert "timings" not in body
    assert [e["content"] for e in events] == ["one", ""]


# --- the real thing


@pytest.fixture(scope="module")
def nano(model_file: Path) -> Iterator[Served]:
    config = LlamaConfig(model=str(model_file), name="nano", ctx=256, parallel=1, cells=256, threads=1)
    with serving(LlamaClient(config)) as served:
        assert eventually(lambda: served.client.get("/ready").status_code == 200, timeout=30)
        yield served


def test_the_bundled_model_has_the_tokens(nano: Served) -> None:
    """Qwen's, with those for a repository."""
    fim = nano.client.get("/status").json()["model"]["fim"]
    texts = nano.client.post("/detokenize", json={"tokens": list(fim.values())}).json()["content"]
    assert texts == "<|fim_prefix|><|fim_suffix|><|fim_middle|><|repo_name|><|file_sep|>"


def test_a_warm_up_leaves_the_extra_files_in_the_cache(nano: Served) -> None:
    """The next request reads what is new."""
    extra = [{"text": "light = on\n" * 5, "filename": "light.py"}]
    warm = fill(nano, "", "", input_extra=extra, n_predict=0).json()
    body = fill(nano, "light = ", "\n", input_extra=extra, n_predict=4, ignore_eos=True).json()
    assert warm["content"] == ""
    assert body["tokens_predicted"] == 4
    assert body["tokens_cached"] >= warm["tokens_evaluated"] - 2


def test_a_key_more_computes_a_token_more(nano: Served) -> None:
    """As the beginning of the hole's content stands last."""
    first = fill(nano, "turn on ", " now\n" * 10, prompt="the", n_predict=1).json()
    then = fill(nano, "turn on ", " now\n" * 10, prompt="the light", n_predict=1).json()
    assert then["tokens_cached"] >= first["tokens_evaluated"] - 1


def test_a_file_beyond_the_context_is_cut_to_it(nano: Served) -> None:
    """And answered."""
    body = fill(nano, "light = on\n" * 500, "light = off\n" * 500, prompt="fan", n_predict=20).json()
    assert body["truncated"]
    assert 200 < body["tokens_evaluated"] <= 236
    assert body["tokens_predicted"] <= 20


def test_an_answer_that_fills_the_context_is_truncated(nano: Served) -> None:
    """As in llama-server. What has room is not."""
    full = fill(nano, ignore_eos=True).json()
    short = fill(nano, ignore_eos=True, n_predict=5).json()
    assert (full["truncated"], short["truncated"]) == (True, False)
    assert full["tokens_evaluated"] + full["tokens_predicted"] == 256
    assert short["stop_type"] == full["stop_type"] == "limit"


def test_a_stopping_word_is_told(nano: Served) -> None:
    """And no part of the answer."""
    text = fill(nano, temperature=0, ignore_eos=True, n_predict=20).json()["content"]
    body = fill(nano, temperature=0, ignore_eos=True, n_predict=20, stop=text[4:6]).json()
    assert (body["stop_type"], body["stopping_word"]) == ("word", text[4:6])
    assert body["content"] == text[: text.index(text[4:6])]


def test_a_completion_with_a_suffix_is_not_cut(nano: Served) -> None:
    """OpenAI's endpoint refuses, with the counts."""
    assert nano.complete("turn on ", suffix=" now").json()["usage"]["completion_tokens"] <= 16
    response = nano.complete("light = on\n" * 500, suffix="x")
    assert (response.status_code, error(response)["code"]) == (400, "context_length_exceeded")


def test_a_stream_reports_the_progress_of_its_prompt(nano: Served) -> None:
    """To those who ask for it, up to the whole prompt."""
    events = parse(fill(nano, stream=True, n_predict=4, return_progress=True).text)
    reports = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    assert reports[-1]["processed"] == reports[-1]["total"] == events[-1]["tokens_evaluated"]
    assert not any("prompt_progress" in event for event in parse(fill(nano, stream=True, n_predict=4).text))
