"""With `return_progress` a stream begins with how much of the prompt has been computed, as in llama-server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.server import Scripted, Served, parse, serving

FAKE_PROGRESS = [
    {"total": 5, "cache": 1, "processed": 3, "time_ms": 8},
    {"total": 5, "cache": 1, "processed": 5, "time_ms": 12},
]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted("Hel", "lo")) as daemon:
        yield daemon


def split(stream: str) -> tuple[list[Any], list[Any]]:
    """The reports, and the rest of a stream."""
    events = parse(stream)
    reports = [event for event in events if "prompt_progress" in event]
    assert events[: len(reports)] == reports
    return reports, events[len(reports) :]


def without_ids(events: list[Any]) -> list[Any]:
    return [{**event, "id": "", "created": 0} for event in events]


def test_a_chat_reports_the_progress_of_its_prompt(served: Served) -> None:
    """The answer that follows is the same as without."""
    reports, rest = split(served.chat(stream=True, return_progress=True).text)
    assert FAKE_PROGRESS == [report["prompt_progress"] for report in reports]
    assert [{"index": 0, "delta": {"role": "assistant"}, "logprobs": None, "finish_reason": None}] == reports[
        0
    ]["choices"]
    assert without_ids(parse(served.chat(stream=True).text)) == without_ids(rest)


def test_a_completion_reports_it_too(served: Served) -> None:
    """An echo is part of the answer, and comes once."""
    fields = {"stream": True, "echo": True}
    reports, rest = split(served.complete("Once", return_progress=True, **fields).text)
    assert FAKE_PROGRESS == [report["prompt_progress"] for report in reports]
    assert without_ids(parse(served.complete("Once", **fields).text)) == without_ids(rest)


def test_each_prompt_of_a_request_has_its_own_reports(served: Served) -> None:
    """Under the index of its first answer."""
    events = parse(served.complete(["a", "b"], n=2, stream=True, return_progress=True).text)
    reports = [event for event in events if "prompt_progress" in event]
    assert {0, 2} == {report["choices"][0]["index"] for report in reports}


def test_without_a_stream_there_is_nothing_to_report_to(served: Served) -> None:
    """The field has no effect then."""
    assert "prompt_progress" not in served.chat(return_progress=True).text


def test_reports_do_not_count_as_the_first_token(served: Served) -> None:
    """Neither in metrics of the time to it."""

    def count() -> str:
        metrics = served.client.get("/metrics").text
        return next(
            line for line in metrics.splitlines() if line.startswith("edgeinfer_token_gap_seconds_count")
        )

    served.chat(stream=True)
    before = count()
    served.chat(stream=True, return_progress=True)
    after = count()
    assert float(after.split()[-1]) - float(before.split()[-1]) == 1
