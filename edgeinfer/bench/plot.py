"""Plots of what `edgeinfer bench` has measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeinfer.bench.bar_chart import Bar, BarChart, layout
from edgeinfer.bench.drawing import png, require_png, svg
from edgeinfer.errors import InvalidRequest
from edgeinfer.plan.benchmarks import BenchmarkResult
from edgeinfer.plan.calibration import Calibration

TOKENS, BYTES = "tokens per second", "gigabytes per second"
MAX_OTHERS = 9
"""Models that a result is compared with."""


def check_plot_file(file: Path) -> None:
    """Raise an error if a plot cannot be written there, before minutes are spent on measuring.

    Raises:
        InvalidRequest: the file's name says neither SVG nor PNG, or its folder is not there.
        SettingsError: what draws a PNG is not installed.
    """
    if file.suffix.lower() not in (".svg", ".png"):
        raise InvalidRequest(
            f"a plot is an .svg or a .png, and the file is called {file.name!r}", param="plot"
        )
    if not file.absolute().parent.is_dir():
        raise InvalidRequest(f"there is no folder {file.absolute().parent}", param="plot")
    if file.suffix.lower() == ".png":
        require_png()


def plot_result(file: Path, result: BenchmarkResult, others: Sequence[BenchmarkResult]) -> None:
    """Draw the speed of a model, beside that of other models on this machine. Raises OSError."""
    results = [result, *(other for other in others if other.model != result.model)][: 1 + MAX_OTHERS]

    def chart(title: str, name: str, mark: str | None = None) -> BarChart:
        bars = [
            Bar(
                each.model if name != "together_rate" else f"{each.parallel} × {each.model}",
                getattr(each, name),
                getattr(each, mark) if mark else None,
                other=each is not result,
            )
            for each in results
        ]
        return BarChart(title, TOKENS, bars, "predicted" if mark else "")

    charts = [
        chart("Reading a prompt", "prompt_rate"),
        chart("Generating one answer", "answer_rate", "predicted_rate"),
        chart("Generating several answers, in total", "together_rate"),
    ]
    _write(file, f"edgeinfer bench: {result.model}", f"measured {result.measured}", charts)


def plot_calibration(file: Path, calibration: Calibration) -> None:
    """Draw what was measured of the machine itself. Raises OSError."""
    charts = [
        BarChart(
            f"{name}: weights read while generating",
            BYTES,
            [Bar(kind, rate / 1e9) for kind, rate in rates.decode.items() if kind],
        )
        for name, rates in (("CPU", calibration.cpu), ("GPU", calibration.gpu))
        if rates
    ]
    if calibration.threads:
        best = calibration.best_threads
        bars = [
            Bar(f"{count} thread{'' if count == 1 else 's'}", rate, other=count != best)
            for count, rate in sorted(calibration.threads.items())
        ]
        charts.append(BarChart("Generating one answer, by threads", TOKENS, bars))
    note = f", but not kept: {calibration.disturbed}" if calibration.disturbed else ""
    _write(file, "edgeinfer bench --calibrate", f"measured {calibration.measured}{note}", charts)


def _write(file: Path, title: str, subtitle: str, charts: Sequence[BarChart]) -> None:
    width, height, shapes = layout(title, subtitle, [chart for chart in charts if chart.bars])
    is_png = file.suffix.lower() == ".png"
    file.write_bytes(png(width, height, shapes) if is_png else svg(width, height, shapes, title))
