"""Results of `edgeinfer bench`, the last one of each model, and their file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.plan.json_file import write_json

FILE = "benchmarks.json"


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

    model: str
    measured: str
    parallel: int
    prompt_rate: float
    answer_rate: float
    together_rate: float
    predicted_rate: float | None = None


def load_results(directory: Path) -> list[BenchmarkResult]:
    """Read the results in `directory`, the newest first; none if there is no such file, or it is damaged."""
    try:
        results = msgspec.json.decode((directory / FILE).read_bytes(), type=list[BenchmarkResult])
    except (OSError, msgspec.DecodeError):
        return []
    return sorted(results, key=lambda result: result.measured, reverse=True)


def save_result(directory: Path, result: BenchmarkResult) -> None:
    """Keep `result` in `directory`, instead of what was measured of the model before. Raises OSError."""
    others = [other for other in load_results(directory) if other.model != result.model]
    write_json(directory / FILE, [result, *others])
