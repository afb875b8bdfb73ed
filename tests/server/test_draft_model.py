"""What clients and operators see of a draft model."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from edgeinfer.backends.llama_cpp.client import LlamaClient
from edgeinfer.inference.output import EngineStats
from edgeinfer.metrics import Metrics
from tests.support.llama import config
from tests.support.server import Served, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(LlamaClient(config(draft_model="fake"))) as found:
        yield found


def test_an_answer_is_that_without_one(served: Served) -> None:
    question = {"prompt": "Once upon", "temperature": 0, "max_tokens": 60}
    with serving(LlamaClient(config())) as plain:
        answers = [
            httpx.post(f"{each.url}/v1/completions", json=question, timeout=60).json()["choices"][0]["text"]
            for each in (plain, served)
        ]
    assert answers[0] == answers[1]


def test_props_and_slots_say_that_there_is_one(served: Served) -> None:
    props = httpx.get(f"{served.url}/props").json()
    assert props["default_generation_settings"]["speculative"]
    assert all(slot["speculative"] for slot in httpx.get(f"{served.url}/slots").json())


class Model:
    """The figures of a model that has drafted in all ways."""

    name = "m"
    state = "ready"
    restarts = resumed = 0
    health = None
    stats = EngineStats(
        drafted_tokens_total=100,
        drafted_by_prediction_total=20,
        drafted_by_model_total=70,
        accepted_tokens_total=50,
        accepted_by_prediction_total=15,
        accepted_by_model_total=30,
    )


def test_metrics_count_drafts_by_who_has_guessed() -> None:
    text = Metrics(lambda: [Model()]).text().decode()
    found = {line for line in text.splitlines() if "drafter=" in line}
    assert found == {
        f'edgeinfer_{name}_tokens_total{{drafter="{drafter}",model="m"}} {count}.0'
        for name, counts in {"drafted": (10, 20, 70), "accepted": (5, 15, 30)}.items()
        for drafter, count in zip(("ngram", "prediction", "model"), counts, strict=True)
    }
