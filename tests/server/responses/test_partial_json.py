"""Arguments that were cut, and thoughts that clients send back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.server.responses.partial_json import text_argument
from edgeinfer.server.responses.thoughts import MARK, pack, unpack

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(TEXT, st.booleans(), st.integers(0, 400))
def test_of_a_call_that_was_cut_as_much_is_read_as_has_come(text: str, ascii: bool, cut: int) -> None:
    """Never more, and never half of a character."""
    arguments = json.dumps({"input": text}, ensure_ascii=ascii)
    found = text_argument(arguments[:cut], "input")
    assert text.startswith(found)
    assert found.encode() == text[: len(found)].encode()


@given(TEXT, st.booleans())
def test_of_a_whole_call_all_is_read(text: str, ascii: bool) -> None:
    """Quotes, backslashes and all."""
    assert text_argument(json.dumps({"input": text}, ensure_ascii=ascii), "input") == text


def test_what_has_come_is_not_lost_to_an_escape_that_was_cut() -> None:
    """It alone is missing."""
    assert text_argument('{"input": "abc\\ud83d\\ude', "input") == "abc"
    assert text_argument('{"input": "abc\\', "input") == "abc"
    assert text_argument('{"inp', "input") == ""


@given(TEXT)
def test_thoughts_come_back_as_they_were(text: str) -> None:
    """Whatever they are about."""
    assert unpack(pack(text)) == text


def test_what_is_not_from_here_is_nothing() -> None:
    """Another provider's, half of ours, or nonsense."""
    for packed in (None, "", "gAAAAABo", MARK + "%%%", MARK + "/w==", pack("thoughts")[:-1]):
        assert unpack(packed) is None
