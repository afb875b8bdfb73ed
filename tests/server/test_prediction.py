"""OpenAI's `prediction`, with the bundled model: another speed, the same text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.chat.tools.detect import MARKERS
from tests.support.server import Served, serving

QUESTION = {"messages": [{"role": "user", "content": "What can you do?"}], "temperature": 0, "max_tokens": 60}


@pytest.fixture(scope="module", params=["streams", "unified"])
def served(model_file: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    config = LlamaConfig(
        model=str(model_file), name="nano", ctx=512, parallel=4, cells=2048, layout=request.param
    )
    with serving(LlamaClient(config, markers=MARKERS)) as found:
        yield found


def ask(served: Served, **fields: Any) -> Any:
    answer = httpx.post(f"{served.url}/v1/chat/completions", json={**QUESTION, **fields}, timeout=60)
    return answer.json()


def text_of(answer: Any) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_a_predicted_answer_is_the_same_and_tells_what_was_guessed_right(served: Served) -> None:
    plain = ask(served)
    text = text_of(plain)
    predicted = ask(served, prediction={"type": "content", "content": text})
    assert text == text_of(predicted)
    counts = predicted["usage"]["completion_tokens_details"]
    assert counts["accepted_prediction_tokens"] > 10
    assert counts["accepted_prediction_tokens"] == predicted["timings"]["draft_n_accepted"]
    drafted = sum(counts.values())
    assert drafted == predicted["timings"]["draft_n"]


def test_a_prediction_in_parts_that_is_wrong_changes_nothing(served: Served) -> None:
    parts = [{"type": "text", "text": word} for word in ("Something ", "else ", "entirely.")]
    assert text_of(ask(served)) == text_of(ask(served, prediction={"type": "content", "content": parts}))


def test_an_answer_in_a_form_is_predicted_too(served: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"note": {"type": "string", "minLength": 100, "maxLength": 120}},
        "required": ["note"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "note", "schema": schema}}
    text = text_of(ask(served, response_format=form))
    predicted = ask(served, response_format=form, prediction={"type": "content", "content": text})
    assert text == text_of(predicted)
    assert predicted["usage"]["completion_tokens_details"]["accepted_prediction_tokens"] > 5


@pytest.mark.parametrize(
    ("prediction", "param"),
    [
        ("text", "prediction"),
        ({"type": "other", "content": "text"}, "prediction.type"),
        ({"type": "content"}, "prediction.content"),
        ({"type": "content", "content": 5}, "prediction.content"),
        ({"type": "content", "content": [{"type": "image_url"}]}, "prediction.content"),
    ],
)
def test_a_prediction_of_another_form_is_refused_with_its_field(
    served: Served, prediction: Any, param: str
) -> None:
    error = ask(served, prediction=prediction)["error"]
    assert error["param"].startswith(param)


@pytest.mark.parametrize("served", ["streams"], indirect=True)
def test_with_a_seed_nothing_is_guessed_and_the_text_is_always_the_same(served: Served) -> None:
    """How much is guessed follows from measured times, and several rows may not be rounded as one is.

    In a pool, rounding also depends on the places of the cells.
    """

    def complete(**fields: Any) -> Any:
        body = {
            "prompt": "the light in the kitchen is on and " * 6,
            "max_tokens": 200,
            "ignore_eos": True,
            "temperature": 1,
        }
        return httpx.post(f"{served.url}/v1/completions", json={**body, **fields}, timeout=60).json()

    assert complete(temperature=0)["timings"]["draft_n"] > 0
    answers = [complete(seed=3) for _ in range(4)]
    assert not any("draft_n" in answer["timings"] for answer in answers)
    assert len({answer["choices"][0]["text"] for answer in answers}) == 1
