"""Bar charts with labelled axes, one below the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from edgeinfer.bench.drawing import Line, Rectangle, Shape, Text

WIDTH = 720
LABELS = 210
"""Width of the column with the bars' names."""

RIGHT = 70
"""Width for the number behind the longest bar."""

MARGIN, ROW, BAR, TITLE, AXIS = 20, 26, 16, 34, 46
TICKS = 5
MAX_LABEL = 30


class Bar(msgspec.Struct, frozen=True):
    """A value with its name.

    Attributes:
        mark: another value to compare it with, shown as a line across the bar.
        other: it is not what the chart is about, and is there to compare with.
    """

    label: str
    value: float
    mark: float | None = None
    other: bool = False


class BarChart(msgspec.Struct, frozen=True):
    """Bars along one axis.

    Attributes:
        axis: what the axis shows, with its unit.
        mark_label: what the marks are.
    """

    title: str
    axis: str
    bars: Sequence[Bar]
    mark_label: str = ""

    @property
    def height(self) -> float:
        return TITLE + ROW * len(self.bars) + AXIS


def layout(title: str, subtitle: str, charts: Sequence[BarChart]) -> tuple[float, float, list[Shape]]:
    """Return the width, the height and the shapes of charts under a title."""
    shapes: list[Shape] = [
        Text(MARGIN, MARGIN + 14, title, bold=True),
        Text(MARGIN, MARGIN + 34, subtitle, "faint"),
    ]
    top = MARGIN + 44.0
    for chart in charts:
        shapes += _chart(chart, top)
        top += chart.height
    return WIDTH, top + MARGIN / 2, shapes


def _chart(chart: BarChart, top: float) -> Iterator[Shape]:
    left, right = MARGIN + LABELS, WIDTH - MARGIN - RIGHT
    values = [bar.value for bar in chart.bars] + [bar.mark for bar in chart.bars if bar.mark is not None]
    step, bottom = tick_step(max(values, default=0)), top + TITLE + ROW * len(chart.bars)
    end = max(math.ceil(max(values, default=0) / step - 1e-9), 1) * step
    scale = (right - left) / end
    yield Text(MARGIN, top + 22, chart.title, bold=True)
    for number in range(round(end / step) + 1):
        x = left + number * step * scale
        yield Line(x, top + TITLE, x, bottom, "grid")
        yield Text(x, bottom + 16, f"{number * step:g}", "faint", "middle")
    for number, bar in enumerate(chart.bars):
        y = top + TITLE + ROW * number + (ROW - BAR) / 2
        label = bar.label if len(bar.label) <= MAX_LABEL else bar.label[: MAX_LABEL - 1] + "…"
        yield Text(left - 8, y + BAR - 3, label, "text", "end")
        yield Rectangle(left, y, bar.value * scale, BAR, "other" if bar.other else "bar")
        reach = max(bar.value, bar.mark or 0)
        if bar.mark is not None:
            x = left + bar.mark * scale
            yield Line(x, y - 3, x, y + BAR + 3, "mark", 2)
        yield Text(left + reach * scale + 6, y + BAR - 3, number_text(bar.value))
    yield Text((left + right) / 2, bottom + 34, chart.axis, "faint", "middle")
    if chart.mark_label and any(bar.mark is not None for bar in chart.bars):
        yield Line(right - 8, top + 18, right - 8, top + 30, "mark", 2)
        yield Text(right, top + 28, chart.mark_label, "faint")


def tick_step(largest: float) -> float:
    """Return a round distance of ticks, so that there are about five up to the largest value."""
    if largest <= 0:
        return 1
    power: float = 10.0 ** math.floor(math.log10(largest / TICKS))
    return next(step * power for step in (1, 2, 5, 10) if step * power * TICKS >= largest)


def number_text(value: float) -> str:
    """Return a number with three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
