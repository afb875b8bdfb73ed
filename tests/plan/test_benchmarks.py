"""The file with the results of `edgeinfer bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.plan.benchmarks import FILE, BenchmarkResult, load_results, save_result

RESULT = BenchmarkResult("m", "2026-01-01T00:00:00Z", 4, 100.0, 10.0, 20.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("answer_rate", -1.0),
        ("prompt_rate", 1e30),
        ("parallel", 0),
        ("together_rate", "fast"),
        ("model", None),
    ],
)
def test_absurd_figures_are_not_shown_and_named(
    field: str, value: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next measurement takes their place."""
    save_result(tmp_path, RESULT)
    (result,) = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps([result | {field: value}]))
    assert load_results(tmp_path) == []
    assert f"{FILE} is not used, as it is damaged" in caplog.text
    assert f"$[0].{field}" in caplog.text
    save_result(tmp_path, RESULT)
    assert load_results(tmp_path) == [RESULT]
