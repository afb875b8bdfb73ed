"""Each test that docs/reliability.md names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()
ROWS = [
    line.strip("| ").split(" | ")
    for line in PAGE.partition("| claim | tests |")[2].splitlines()
    if "`" in line
]


def test_there_is_a_row_for_each_kind_of_failure() -> None:
    assert len(ROWS) >= 12


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_every_claim_has_tests_that_exist(row: list[str]) -> None:
    """A name that leads nowhere would be a promise that nobody keeps."""
    named = re.findall(r"`(?:tests/)?((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`", row[1])
    assert named
    for file, function in named:
        tree = ast.parse((TESTS / file).read_text())
        found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert not function or function in found, f"{file} has no {function}"
