"""POST /completion continues prompts as llama-server does, for clients such as Continue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.inference.types import Span
from edgeinfer.store.lookup import bundled_file
from tests.support.server import Scripted, Served, error, parse, serving

GREEDY = {"temperature": 0, "n_predict": 8, "ignore_eos": True}
COMPLETION_FIELDS = {
    "index", "content", "tokens", "id_slot", "stop", "model", "tokens_predicted", "tokens_evaluated",
    "generation_settings", "prompt", "has_new_line", "truncated", "stop_type", "stopping_word", "tokens_cached",
    "timings",
}  # fmt: skip


@pytest.fixture(scope="module")
def nano() -> Iterator[Served]:
    """The bundled model, in a worker of its own."""
    client = LlamaClient(LlamaConfig(model=bundled_file(), name="nano", ctx=512, parallel=2, threads=1))
    with serving(client) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def scripted() -> Iterator[tuple[Served, Scripted]]:
    engine = Scripted("Hel", "lo")
    with serving(engine) as daemon:
        yield daemon, engine


def complete(served: Served, prompt: Any = "turn on the light", **fields: Any) -> httpx.Response:
    return served.client.post("/completion", json={"prompt": prompt, **fields})


def content(response: httpx.Response) -> dict[str, Any]:
    assert 200 == response.status_code, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_completion_has_every_field_of_llama_servers(nano: Served) -> None:
    """What was asked for, what it cost, and how it ended."""
    found = content(complete(nano, **GREEDY))
    assert COMPLETION_FIELDS == found.keys()
    assert ("nano", True, "limit", "", False) == tuple(
        found[k] for k in ("model", "stop", "stop_type", "stopping_word", "truncated")
    )
    assert (8, "turn on the light", []) == (found["tokens_predicted"], found["prompt"], found["tokens"])
    assert found["tokens_evaluated"] == found["timings"]["cache_n"] + found["timings"]["prompt_n"]
    settings = found["generation_settings"]
    assert (8, 8, 0, True) == tuple(
        settings[k] for k in ("n_predict", "max_tokens", "temperature", "ignore_eos")
    )


def test_a_stream_has_the_text_piece_by_piece_and_ends_with_the_figures(nano: Served) -> None:
    """There is no [DONE]: clients stop at `stop`."""
    whole = content(complete(nano, return_tokens=True, **GREEDY))
    response = complete(nano, stream=True, **GREEDY)
    assert "[DONE]" not in response.text
    *chunks, last = parse(response.text)
    assert whole["content"] == "".join(chunk["content"] for chunk in chunks)
    assert whole["tokens"] == [token for chunk in chunks for token in chunk["tokens"]]
    assert not any(chunk["stop"] for chunk in chunks)
    assert {whole["tokens_evaluated"]} == {chunk["tokens_evaluated"] for chunk in chunks}
    assert (COMPLETION_FIELDS, "", []) == (set(last), last["content"], last["tokens"])
    assert (whole["tokens_predicted"], "limit") == (last["tokens_predicted"], last["stop_type"])


def test_the_request_of_continue_is_answered(nano: Served) -> None:
    """As its llama.cpp provider sends it: what its configuration leaves out is absent or null."""
    body = {
        "prompt": "turn on", "stream": True, "n_predict": 16, "frequency_penalty": None, "presence_penalty": None,
        "min_p": None, "mirostat": None, "stop": ["<|im_end|>", "\n\n"], "top_k": 40, "top_p": 0.9, "temperature": 0.2,
    }  # fmt: skip
    headers = {"Authorization": "Bearer undefined"}
    with nano.client.stream("POST", "/completion", json=body, headers=headers) as response:
        events = parse("".join(response.iter_text()))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert all(isinstance(event["content"], str) for event in events)
    assert events[-1]["stop"]


@pytest.mark.parametrize(
    "prompt",
    ["turn on", ["turn on"], [{"prompt_string": "turn on"}], {"prompt_string": "turn on"}],
    ids=str,
)
def test_one_prompt_gets_one_answer(nano: Served, prompt: Any) -> None:
    """However it is written."""
    assert "turn on" == content(complete(nano, prompt, **GREEDY))["prompt"]


def test_tokens_and_texts_may_be_mixed(nano: Served) -> None:
    """The answer is the same as to one text of them."""
    ids = nano.client.post("/tokenize", json={"content": "turn on"}).json()["tokens"]
    rest = " the light"
    whole = nano.client.post("/tokenize", json={"content": "turn on the light", "add_special": True}).json()[
        "tokens"
    ]
    alike = [content(complete(nano, prompt, **GREEDY)) for prompt in (whole, "turn on the light")]
    assert alike[0]["content"] == alike[1]["content"]
    mixed = content(complete(nano, [*ids, rest, *ids], **GREEDY))
    assert "turn on the lightturn on" == mixed["prompt"].replace("<s>", "")


def test_parts_of_a_mixed_prompt_reach_the_engine_in_order(scripted: tuple[Served, Scripted]) -> None:
    """Texts as texts in which control tokens are recognised, tokens as they are."""
    served, engine = scripted
    content(complete(served, [1, "two", 3]))
    assert [1, Span("two"), 3] == list(engine.requests[-1][0])


def test_several_prompts_get_a_list_of_answers(nano: Served) -> None:
    """In order, `n` to each."""
    prompts = ["turn on", [10, 11], [12, "x"]]
    found: Any = complete(nano, prompts, n=2, **GREEDY).json()
    assert list(range(6)) == [answer["index"] for answer in found]
    assert found[0]["prompt"] == found[1]["prompt"] == "turn on"
    events = parse(complete(nano, prompts, n=2, stream=True, **GREEDY).text)
    assert set(range(6)) == {event["index"] for event in events if event["stop"]}
    for answer in found:
        pieces = [e["content"] for e in events if e["index"] == answer["index"]]
        assert answer["content"] == "".join(pieces)


def test_an_answer_ends_at_a_stop_text(nano: Served) -> None:
    """Which is named, and is no part of it."""
    text = content(complete(nano, temperature=0, n_predict=20, ignore_eos=True))["content"]
    found = content(complete(nano, temperature=0, n_predict=20, ignore_eos=True, stop=[text[4:6]]))
    assert ("word", text[4:6], text[: text.index(text[4:6])]) == (
        found["stop_type"], found["stopping_word"], found["content"],
    )  # fmt: skip


def test_without_a_limit_an_answer_goes_on_to_its_end(nano: Served) -> None:
    """-1 and nothing at all are no limit; the end may be that of the context."""
    for fields in ({"n_predict": -1}, {}):
        found = content(complete(nano, temperature=0, ignore_eos=True, **fields))
        assert ("limit", True, 512) == (
            found["stop_type"], found["truncated"], found["tokens_evaluated"] + found["tokens_predicted"],
        )  # fmt: skip


def test_with_a_limit_of_zero_only_the_cache_is_warmed(nano: Served) -> None:
    """The next request finds its prompt there."""
    prompt = "a prompt that nobody else has sent to this model before"
    found = content(complete(nano, prompt, n_predict=0))
    assert ("", 0, "limit", 0) == tuple(
        found[k] for k in ("content", "tokens_predicted", "stop_type", "tokens_cached")
    )
    assert 0 == found["generation_settings"]["n_predict"]
    assert content(complete(nano, prompt, **GREEDY))["tokens_cached"] >= found["tokens_evaluated"] - 1
    (only,) = parse(complete(nano, prompt, n_predict=0, stream=True).text)
    assert only["stop"]


def test_an_answer_keeps_to_a_grammar_or_a_schema(nano: Served) -> None:
    """As everywhere else."""
    assert content(complete(nano, grammar='root ::= "yes" | "no"'))["content"] in ("yes", "no")
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    found = content(complete(nano, json_schema=schema, n_predict=40))
    assert found["content"] in ('{"on": true}', '{"on": false}')
    assert "eos" == found["stop_type"]


def test_each_token_comes_with_the_most_likely_ones(nano: Served) -> None:
    """In streams with the piece that it is part of."""
    found = content(complete(nano, n_probs=3, **GREEDY))
    assert 8 == len(found["completion_probabilities"])
    entry = found["completion_probabilities"][0]
    assert {"id", "token", "bytes", "logprob", "top_logprobs"} == entry.keys()
    assert (3, entry["id"]) == (len(entry["top_logprobs"]), entry["top_logprobs"][0]["id"])
    *chunks, last = parse(complete(nano, n_probs=3, stream=True, **GREEDY).text)
    streamed = [entry for chunk in chunks for entry in chunk.get("completion_probabilities", ())]
    assert [e["id"] for e in found["completion_probabilities"]] == [e["id"] for e in streamed]
    assert "completion_probabilities" not in last


def test_only_the_fields_that_are_asked_for_are_returned(nano: Served) -> None:
    """A slash leads into a field."""
    fields = ["content", "timings/predicted_n", "generation_settings/n_predict", "nothing"]
    found = content(complete(nano, response_fields=fields, **GREEDY))
    assert set(fields[:3]) == found.keys()
    assert 8 == found["timings/predicted_n"] == found["generation_settings/n_predict"]


def test_progress_and_times_come_with_the_pieces_that_ask_for_them(nano: Served) -> None:
    """Progress up to the whole prompt, then times with each token."""
    *chunks, last = parse(
        complete(nano, stream=True, return_progress=True, timings_per_token=True, **GREEDY).text
    )
    reports = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert reports[-1]["processed"] == reports[-1]["total"] == last["tokens_evaluated"]
    counts = [chunk["timings"]["predicted_n"] for chunk in chunks[len(reports) :]]
    assert counts == sorted(counts)
    assert 8 == counts[-1]


def test_lines_end_an_answer_as_editors_want_it(scripted: tuple[Served, Scripted]) -> None:
    """By indentation; an answer that is cut so has figures too."""
    served, engine = scripted
    engine.pieces = ("a\n", "    b\n", "c", "d")
    try:
        found = content(complete(served, n_indent=4))
        assert ("a\n    b", "limit", True) == (found["content"], found["stop_type"], found["has_new_line"])
        *chunks, last = parse(complete(served, n_indent=4, stream=True).text)
        assert found["content"] == "".join(chunk["content"] for chunk in chunks)
        assert found["stop_type"] == last["stop_type"]
    finally:
        engine.pieces = ("Hel", "lo")


def test_biases_may_be_pairs(scripted: tuple[Served, Scripted]) -> None:
    """False means never."""
    served, engine = scripted
    content(complete(served, logit_bias=[[15, 1.5], [16, False]]))
    assert {15: 1.5, 16: -100.0} == engine.requests[-1][1].logit_bias


@pytest.mark.parametrize(
    "fields",
    [
        {"id_slot": 0, "cache_prompt": False, "n_keep": -1, "n_discard": 0, "t_max_prompt_ms": 100},
        {"samplers": ["top_k", "temperature"], "seed": -1, "stop": [""]},
        {"dry_multiplier": 0, "mirostat": 0, "xtc_probability": 0, "lora": [], "min_keep": 0},
    ],
    ids=str,
)
def test_fields_without_an_effect_are_accepted(
    scripted: tuple[Served, Scripted], fields: dict[str, Any]
) -> None:
    """Resources, and what is off."""
    assert "Hello" == content(complete(scripted[0], **fields))["content"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"mirostat": 2}, "mirostat"),
        ({"lora": [{"id": 0, "scale": 1.0}]}, "lora"),
        ({"dry_multiplier": 0.8}, "dry_multiplier"),
        ({"post_sampling_probs": True}, "post_sampling_probs"),
        ({"logit_bias": [["word", 1]]}, "logit_bias"),
        ({"logit_bias": [[1]]}, "logit_bias"),
        ({"logit_bias": [[True, 1]]}, "logit_bias"),
        ({"n_probs": 21}, "n_probs"),
        ({"n_predict": -2}, "n_predict"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [1, -1]}, "prompt"),
        ({"prompt": [1, True]}, "prompt"),
        ({"prompt": [1, [2]]}, "prompt"),
        ({"prompt": {"prompt_string": "x", "multimodal_data": ["aGk="]}}, "prompt"),
        ({"prompt": ["x"] * 129}, "prompt"),
        ({"prompt": [1, *["x"] * 257]}, "prompt"),
        ({"prompt": [300]}, "prompt"),
        ({"prompt": ["x", [5000]]}, "prompt"),
    ],
    ids=str,
)
def test_what_would_change_the_answer_is_refused_by_name(
    scripted: tuple[Served, Scripted], fields: dict[str, Any], param: str
) -> None:
    """In llama-server's error shape."""
    response = complete(scripted[0], **fields)
    found = error(response)
    assert (400, 400, "invalid_request_error") == (response.status_code, found["code"], found["type"])
    assert found["param"].startswith(param)


def test_the_other_path_is_the_same_route(scripted: tuple[Served, Scripted]) -> None:
    """/completions without /v1 is llama-server's own, not OpenAI's."""
    assert "Hello" == content(scripted[0].client.post("/completions", json={"prompt": "x"}))["content"]
