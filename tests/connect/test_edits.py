"""Blocks of lines, and values that are left alone."""

from __future__ import annotations

import pytest

from edgeinfer.connect.edits import Block, JsonValues
from edgeinfer.errors import EdgeinferError

BLOCK = Block("- model_id: edge\n", yaml_list=True)
WRITTEN = "# edgeinfer connect: begin\n- model_id: edge\n# edgeinfer connect: end\n"


@pytest.mark.parametrize("before", ["", "- a: 1\n", "# mine\n- a: 1\n  b: |\n    text\n"])
def test_a_block_is_added_at_the_end(before: str) -> None:
    assert BLOCK.applied(before) == before + WRITTEN


def test_a_block_takes_the_place_of_an_older_one() -> None:
    before = WRITTEN.replace("edge\n", "old\n", 1) + "- a: 1\n"
    assert BLOCK.applied(before) == WRITTEN + "- a: 1\n"


def test_a_block_has_the_line_ends_of_the_file() -> None:
    assert BLOCK.applied("- a: 1\r\n- b: 2") == "- a: 1\r\n- b: 2\r\n" + WRITTEN.replace("\n", "\r\n")


@pytest.mark.parametrize("before", ["a: 1\n", "[]\n", "  - a: 1\n", "---\n- a: 1\n...\n"])
def test_no_item_is_added_to_what_is_no_plain_list(before: str) -> None:
    with pytest.raises(EdgeinferError, match=r"line . is not part of a list"):
        BLOCK.applied(before)


def test_half_a_block_is_refused() -> None:
    with pytest.raises(EdgeinferError, match="not in order"):
        BLOCK.applied("# edgeinfer connect: begin\n- a: 1\n")


def test_a_choice_that_somebody_made_stays() -> None:
    edit = JsonValues([(("url",), "here")], [(("model",), "ours")])
    assert edit.applied('{"model": "mine"}') == '{"model": "mine", "url": "here"}'
    assert edit.applied("{}") == '{\n  "url": "here",\n  "model": "ours"\n}'
