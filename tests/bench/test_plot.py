"""Plots of what `edgeinfer bench` has measured."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgeinfer.bench.bar_chart import tick_step
from edgeinfer.bench.drawing import DARK, LIGHT
from edgeinfer.bench.plot import check_plot_file, plot_calibration, plot_result
from edgeinfer.errors import EdgeinferError
from edgeinfer.plan.benchmarks import BenchmarkResult
from edgeinfer.plan.calibration import Calibration, Rates
from tests.support.cli import run

SVG = "{http://www.w3.org/2000/svg}"
RESULT = BenchmarkResult("small<1>", "2026-01-02T03:04:05+00:00", 4, 300.0, 40.0, 90.0, 50.0)
OTHER = BenchmarkResult("large", "2026-01-01T00:00:00+00:00", 2, 100.0, 10.0, 15.0)
CALIBRATION = Calibration("m", "1", "2026", Rates({"Q4_0": 9e9, "": 9e9}), None, {1: 10.0, 2: 19.0})


@pytest.fixture
def drawing(tmp_path: Path) -> ElementTree.Element:
    plot_result(tmp_path / "a.svg", RESULT, [OTHER, RESULT])
    return ElementTree.parse(tmp_path / "a.svg").getroot()


def texts(drawing: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in drawing.iter(f"{SVG}text")]


def test_it_names_models_numbers_and_units(drawing: ElementTree.Element) -> None:
    written = texts(drawing)
    assert written[0] == "edgeinfer bench: small<1>"
    assert written.count("tokens per second") == 3
    for text in ("small<1>", "large", "4 × small<1>", "2 × large", "300", "40", "15", "predicted"):
        assert text in written


def test_bars_are_as_long_as_their_values(drawing: ElementTree.Element) -> None:
    bars = [e for e in drawing.iter(f"{SVG}rect") if e.get("class") in ("bar", "other")]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert [bar.get("class") for bar in bars] == ["bar", "other"] * 3
    assert [widths[n] / widths[n + 1] for n in (0, 2, 4)] == pytest.approx([3, 4, 6], rel=0.01)
    _, mark = [e for e in drawing.iter(f"{SVG}line") if e.get("class") == "mark"][::-1]
    assert (float(mark.get("x1", "")) - 230) / widths[2] == pytest.approx(50 / 40, rel=0.01)


def test_nothing_leaves_the_picture(drawing: ElementTree.Element) -> None:
    width, height = (float(drawing.get(name, "")) for name in ("width", "height"))
    for text in drawing.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "")) <= width
        assert 0 <= float(text.get("y", "")) <= height


def _luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_stands_out_in_light_and_dark(colours: dict[str, str]) -> None:
    """As WCAG demands of text (AA)."""
    paper = _luminance(colours["paper"])
    for ink in ("text", "faint"):
        lighter, darker = sorted((_luminance(colours[ink]), paper), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_a_calibration_is_drawn(tmp_path: Path) -> None:
    plot_calibration(tmp_path / "c.svg", CALIBRATION)
    written = texts(ElementTree.parse(tmp_path / "c.svg").getroot())
    assert "gigabytes per second" in written
    assert {"Q4_0", "9", "1 thread", "2 threads", "19"} <= set(written)


def test_a_png_is_one(tmp_path: Path) -> None:
    from PIL import Image

    plot_result(tmp_path / "a.png", RESULT, [OTHER])
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.width == 1440
        assert {colour for _, colour in image.getcolors(1 << 20) or ()} >= {(255, 255, 255), (9, 105, 218)}


def test_a_png_without_pillow_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(EdgeinferError, match="needs Pillow") as caught:
        check_plot_file(tmp_path / "a.png")
    assert "edgeinfer[plot]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "problem"), [("a.pdf", "an .svg or a .png"), ("nowhere/a.svg", "no folder")]
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_measured(
    name: str, problem: str, tmp_path: Path
) -> None:
    done = run(tmp_path, "bench", "--plot", str(tmp_path / name))
    assert (done.returncode, done.stdout) == (1, "")
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("largest", "step"), [(0, 1), (0.3, 0.1), (1, 0.2), (9.1, 2), (41, 10), (312, 100), (9000, 2000)]
)
def test_ticks_are_round(largest: float, step: float) -> None:
    assert tick_step(largest) == pytest.approx(step)
