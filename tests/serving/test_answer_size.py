"""One bound on the product of answers, tokens and log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.serving.answer_size import check_answer_size, check_vectors_size
from tests.support.server import INFO, Scripted, Served, error, serving


def check(answers: int, max_tokens: int | None, logprobs: int | None = None, ctx: int = 32768) -> None:
    params = SamplingParams(max_tokens=max_tokens, logprobs=logprobs)
    check_answer_size(params, answers, replace(INFO, ctx=ctx))


@pytest.mark.parametrize(
    ("answers", "max_tokens", "logprobs", "ctx"),
    [
        (1, None, None, 1 << 20),  # one answer may always be as long as the context
        (1, None, 20, 4096),
        (1, None, 0, 131072),
        (1, 5000, 20, 131072),
        (128, 4096, None, 32768),
        (128, None, None, 4096),
        (16, 400, 20, 32768),
        (16384, 16, None, 4096),
    ],
)
def test_what_fits_is_answered(answers: int, max_tokens: int | None, logprobs: int | None, ctx: int) -> None:
    """The defaults of a usual context, and either of the three alone."""
    check(answers, max_tokens, logprobs, ctx)


@pytest.mark.parametrize(
    ("answers", "max_tokens", "logprobs", "ctx"),
    [
        (16, 1000, 20, 32768),
        (128, 100, 20, 4096),
        (1, None, 20, 131072),
        (128, None, None, 32768),
        (16384, 100, None, 4096),
        (16384, 16, 5, 4096),
    ],
)
def test_what_would_fill_the_memory_is_refused(
    answers: int, max_tokens: int | None, logprobs: int | None, ctx: int
) -> None:
    """The hint has a length that fits."""
    with pytest.raises(InvalidRequest, match="memory") as e:
        check(answers, max_tokens, logprobs, ctx)
    assert e.value.param == "max_tokens"
    fitting = [int(word.strip(",")) for word in (e.value.hint or "").split() if word.strip(",").isdigit()]
    if fitting:
        check(answers, fitting[0], logprobs, ctx)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted("Hello")) as found:
        yield found


def test_both_kinds_of_answers_are_bounded(served: Served) -> None:
    """Chats, and completions of several prompts."""
    refused = [
        served.chat(n=128, max_tokens=4096, logprobs=True, top_logprobs=20),
        served.complete(["x"] * 128, n=128, max_tokens=4096),
        served.complete(["x"] * 128, n=2, max_tokens=4096, logprobs=20),
    ]
    assert [(r.status_code, error(r)["param"]) for r in refused] == [(400, "max_tokens")] * 3
    assert served.chat(n=128, max_tokens=5).status_code == 200


def test_vectors_are_bounded_by_their_number_and_length(served: Served) -> None:
    """2,048 of usual length fit, in either encoding."""
    check_vectors_size(2048, 1024 * 22)
    check_vectors_size(2048, 4096 * 5)
    with pytest.raises(InvalidRequest, match="2048 inputs") as e:
        check_vectors_size(2048, 4096 * 22)
    assert "at most 558 inputs" in (e.value.hint or "")
    response = served.client.post("/v1/embeddings", json={"input": ["x"] * 2048})
    assert [item["index"] for item in response.json()["data"]] == list(range(2048))
