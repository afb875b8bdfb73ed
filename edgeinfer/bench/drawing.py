"""Drawings of rectangles, lines and text, as SVG and as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Literal, TypeAlias

import msgspec

from edgeinfer.errors import SettingsError

Ink = Literal["text", "faint", "grid", "bar", "other", "mark"]
"""What a shape is for, which decides its colour."""

LIGHT = {
    "paper": "#ffffff", "text": "#1f2328", "faint": "#59636e", "grid": "#d1d9e0",
    "bar": "#0969da", "other": "#8fb8e8", "mark": "#bc4c00",
}  # fmt: skip
DARK = {
    "paper": "#0d1117", "text": "#f0f6fc", "faint": "#9198a1", "grid": "#3d444d",
    "bar": "#4493f8", "other": "#2d5a94", "mark": "#f0883e",
}  # fmt: skip

FONT_SIZE = 13
PNG_SCALE = 2
"""Pixels for each unit, so that a PNG is sharp on today's screens."""


class Rectangle(msgspec.Struct, frozen=True):
    """A filled rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    ink: Ink


class Line(msgspec.Struct, frozen=True):
    """A line between two points."""

    x1: float
    y1: float
    x2: float
    y2: float
    ink: Ink
    width: float = 1


class Text(msgspec.Struct, frozen=True):
    """A text on one line; `anchor` is the part of it that is at x, y is its baseline."""

    x: float
    y: float
    text: str
    ink: Ink = "text"
    anchor: Literal["start", "middle", "end"] = "start"
    bold: bool = False


Shape: TypeAlias = Rectangle | Line | Text


def svg(width: float, height: float, shapes: Sequence[Shape], title: str) -> bytes:
    """Return an SVG whose colours follow the reader's choice of light or dark."""
    inks = "".join(f".{ink}{{--c:{LIGHT[ink]}}}" for ink in LIGHT)
    dark = "".join(f".{ink}{{--c:{DARK[ink]}}}" for ink in DARK)
    style = (
        f"{inks}@media(prefers-color-scheme:dark){{{dark}}}"
        "rect,text{fill:var(--c)}line{stroke:var(--c)}"
        f"text{{font:{FONT_SIZE}px system-ui,sans-serif}}.bold{{font-weight:600}}"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{style}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        *map(_svg_shape, shapes),
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode()


def _svg_shape(shape: Shape) -> str:
    match shape:
        case Rectangle(x, y, width, height, ink):
            return f'<rect class="{ink}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        case Line(x1, y1, x2, y2, ink, width):
            return (
                f'<line class="{ink}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                f'stroke-width="{width:g}"/>'
            )
        case Text(x, y, text, ink, anchor, bold):
            kind = f"{ink} bold" if bold else ink
            return (
                f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
            )


def require_png() -> None:
    """Raise SettingsError unless what draws a PNG is installed."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise SettingsError(
            "a PNG needs Pillow, which is not installed",
            hint="pip install 'edgeinfer[plot]', or name the file .svg, which needs nothing",
        ) from None


def png(width: float, height: float, shapes: Sequence[Shape]) -> bytes:
    """Return a PNG on white. Raises SettingsError as `require_png` does."""
    require_png()
    from PIL import Image, ImageDraw, ImageFont

    size = (round(width * PNG_SCALE), round(height * PNG_SCALE))
    image = Image.new("RGB", size, LIGHT["paper"])
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(FONT_SIZE * PNG_SCALE)
    for shape in shapes:
        colour = LIGHT[shape.ink]
        match shape:
            case Rectangle(x, y, w, h):
                draw.rectangle(
                    [x * PNG_SCALE, y * PNG_SCALE, (x + w) * PNG_SCALE, (y + h) * PNG_SCALE], colour
                )
            case Line(x1, y1, x2, y2, _, thickness):
                ends = [x1 * PNG_SCALE, y1 * PNG_SCALE, x2 * PNG_SCALE, y2 * PNG_SCALE]
                draw.line(ends, colour, round(thickness * PNG_SCALE))
            case Text(x, y, text, _, anchor):
                place = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
                draw.text((x * PNG_SCALE, y * PNG_SCALE), text, colour, font, place)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
