"""Where the answer to a hole ends: by its indentation, or by time."""

from __future__ import annotations

import pytest

from edgeinfer.server.llama_server.indent_stop import IndentStop


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def read(lines: IndentStop, *pieces: str) -> str:
    """What comes out, to the end of the pieces or of the answer."""
    text = ""
    for piece in pieces:
        text += lines.push(piece)
        if lines.ended:
            break
    return text + lines.flush()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\n    y\n  z", "x\n    y"),
        ("x\n\n    y\n", "x\n\n    y\n"),
        ("x\n}", "x"),
        ("x\n      y\n    z\n   ", "x\n      y\n    z\n   "),
        ("x\n\t\t\t\ty\n\tz", "x\n\t\t\t\ty"),
        ("", ""),
    ],
)
def test_a_line_indented_less_than_the_hole_is_not_part_of_it(text: str, expected: str) -> None:
    """In whatever pieces it comes; blank lines do not count."""
    assert expected == read(IndentStop(4, 0), text)
    assert expected == read(IndentStop(4, 0), *text)


def test_without_an_indentation_nothing_waits() -> None:
    """Each piece goes out as it comes."""
    lines = IndentStop(0, 0)
    assert ["x\n", "\n", "y"] == [lines.push(p) for p in ("x\n", "\n", "y")]


def test_when_time_is_up_the_line_is_ended() -> None:
    """Not before its end, as half a line is of no use."""
    assert "ab\ncdef" == read(IndentStop(0, 5000, Clock()), "a", "b\n", "c", "d", "e", "f", "\ng", "h")
