"""The report of `edgeinfer bench --url` and `--against`, line by line as the figures come."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from edgeinfer.bench.paired import CONFIDENCE
from edgeinfer.bench.scenarios import SCENARIOS

if TYPE_CHECKING:
    from edgeinfer.bench.paired import Figures, ScenarioResult, Speedup
    from edgeinfer.cli.bench_servers import ServersReport

SIDES = "AB"
COLUMNS = 80
INDENT = " " * 14


def heading(report: ServersReport) -> str:
    """Name the servers, and the columns of what follows."""
    lines = [
        f"{side}  {server.url}  {server.model or ''}".rstrip()
        for side, server in zip(SIDES, report.servers, strict=False)
    ]
    columns = "".join(f"{side:>10}" for side, _ in zip(SIDES, report.servers, strict=False))
    last = "  A, times as fast as B" if len(report.servers) == 2 else ""
    return "\n".join([*lines, "", f"{'':21}{columns}{last}", ""])


def start_row(seconds: float) -> str:
    return f"{'start':<14}{'s':<7}{_number(seconds):>10}\n"


def rows(result: ScenarioResult) -> str:
    """Write a scenario's medians, and a line for each server that does not do it."""
    figures = "".join(f"{_median(figures):>10}" for figures in result.servers)
    line = f"{result.name:<14}{result.unit:<7}{figures}{_speedup(result.speedup)}".rstrip()
    lines = [line]
    for side, found in zip(SIDES, result.servers, strict=False):
        if found.refused is not None:
            text = f"{side} does not do this: {found.refused}"
            lines += textwrap.wrap(text, COLUMNS, initial_indent=INDENT, subsequent_indent=INDENT)
    return "\n".join(lines) + "\n"


def notes(report: ServersReport) -> str:
    """Say how the figures are to be read."""
    texts = []
    if report.scenarios:
        what = "; ".join(f"{r.name}: {SCENARIOS[r.name].about}" for r in report.scenarios)
        texts.append(f"{_rounds(report.rounds)} {what[0].upper()}{what[1:]}.")
    if interval := _interval(report):
        texts.append(interval)
    for side, server in zip(SIDES, report.servers, strict=False):
        if server.limit and server.share:
            texts.append(
                f"{side}: the memory's bandwidth allows {_number(server.limit)} tok/s for one answer; "
                f"it reached {100 * server.share:.0f} % of that."
            )
        if not server.counts_tokens:
            texts.append(
                f"{side} does not count tokens: the parts of its answers and the words of prompts were counted."
            )
        if not server.fixed_length:
            texts.append(f"{side} has no ignore_eos: its answers may be shorter than asked for.")
    if report.quick:
        texts.append("With --quick, answers and prompts are too short for figures to be compared.")
    return "".join(f"\n{textwrap.fill(text, COLUMNS)}\n" for text in texts)


def _rounds(count: int) -> str:
    return "One round." if count == 1 else f"Medians of {count} rounds."


def _interval(report: ServersReport) -> str | None:
    """Explain the brackets."""
    found = [result.speedup for result in report.scenarios if result.speedup is not None]
    confidence = next((speedup.confidence for speedup in found if speedup.confidence is not None), None)
    if confidence is None:
        return None
    text = (
        "A and B took turns; above 1, A is the faster one, also where the figure is a time. In brackets: where the "
        f"median of the rounds' ratios lies with {100 * confidence:.1f} % confidence, by the sign test."
    )
    if confidence < CONFIDENCE:
        return f"{text} Six rounds or more give {100 * CONFIDENCE:.0f} %."
    if any(not speedup.certain for speedup in found):
        text += " Where 1 is inside, no difference has been shown."
    return text


def _median(figures: Figures) -> str:
    return "-" if figures.median is None else _number(figures.median)


def _speedup(speedup: Speedup | None) -> str:
    if speedup is None:
        return ""
    if speedup.low is None or speedup.high is None:
        return f"  {speedup.median:6.2f}"
    inside = "" if speedup.certain else "  1 inside"
    return f"  {speedup.median:6.2f}  ({speedup.low:.2f} to {speedup.high:.2f}){inside}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
