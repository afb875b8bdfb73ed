"""Results of `edgeinfer bench`, the last one of each model, and their file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from edgeinfer.plan.json_file import read_json, write_json

FILE = "benchmarks.json"

Text = Annotated[str, Meta(max_length=1000)]
TokenRate = Annotated[float, Meta(ge=0, le=1e7)]
Count = Annotated[int, Meta(ge=1, le=100_000)]
"""What a file can say; anything else was not measured."""


class BenchmarkResult(msgspec.Struct, frozen=True):
    """Measured speed of one model, in tokens per second.

    Attributes:
        measured: time of the measurement in UTC, as ISO 8601.
        parallel: answers at once in `together_rate`.
        prompt_rate: of the prompt.
        answer_rate: of one answer.
        together_rate: of all answers at once, with the time for their prompts.
        predicted_rate: of one answer, as the plan predicts it; None if it does not.
    """

    model: Text
    measured: Text
    parallel: Count
    prompt_rate: TokenRate
    answer_rate: TokenRate
    together_rate: TokenRate
    predicted_rate: TokenRate | None = None


def load_results(directory: Path) -> list[BenchmarkResult]:
    """Read the results in `directory`, the newest first; none if there is no such file, or it is damaged."""
    results = read_json(directory / FILE, list[BenchmarkResult]) or []
    return sorted(results, key=lambda result: result.measured, reverse=True)


def save_result(directory: Path, result: BenchmarkResult) -> None:
    """Keep `result` in `directory`, instead of what was measured of the model before. Raises OSError."""
    others = [other for other in load_results(directory) if other.model != result.model]
    write_json(directory / FILE, [result, *others])
