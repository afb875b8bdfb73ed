"""Edits apply exactly, and all of them or none."""

from __future__ import annotations

import pytest

from edgeinfer.code.edit import Edit, WholeFile, apply_edits, apply_whole_files
from edgeinfer.code.file_change import FileChange
from edgeinfer.code.text_file import TextFile, text_file
from edgeinfer.errors import EdgeinferError


def read(name: str) -> TextFile:
    contents = {"a": b"one\ntwo\ntwo\n", "crlf": b"x\r\ny\r\n", "mixed": b"x\r\ny\n", "latin": b"caf\xe9\n", "bom": b"\xef\xbb\xbfx\n", "last": b"no end", "over": b"xxx\n", "wide": "x\r\n".encode("utf-16")}  # fmt: skip
    return text_file(name, contents[name]) if name in contents else TextFile(name)


def after(*edits: Edit) -> bytes | None:
    (change,) = apply_edits(edits, read)
    return change.after


def test_edits_of_a_file_apply_one_after_the_other() -> None:
    assert after(Edit("a", "one", "1"), Edit("a", "1\ntwo\n", "1\n2\n")) == b"1\n2\ntwo\n"


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit("a", "two", "2"), "occurs more than once"),
        (Edit("over", "xx", "2"), "occurs more than once"),
        (Edit("a", "ones\n", "2"), "does not occur in it; similar lines are:\none"),
        (Edit("a", "", "2"), "the file exists"),
        (Edit("new", "x", "2"), "no such file"),
        (Edit("a", "one", "one"), "change nothing"),
    ],
    ids=lambda value: "" if isinstance(value, Edit) else value[:12],
)
def test_an_edit_that_does_not_apply_exactly_is_refused_with_the_reason(edit: Edit, problem: str) -> None:
    """And so are those beside it."""
    with pytest.raises(EdgeinferError, match=problem):
        apply_edits([edit], read)


def test_one_wrong_edit_refuses_all() -> None:
    with pytest.raises(EdgeinferError, match="edit 2 of 2, of a: `old` occurs more than once"):
        apply_edits([Edit("a", "one", "1"), Edit("a", "two", "2")], read)


def test_the_form_of_a_file_stays() -> None:
    """Line ends, encoding, byte order mark and the end of the last line."""
    assert after(Edit("crlf", "x\ny", "x\nz\ny")) == b"x\r\nz\r\ny\r\n"
    assert after(Edit("mixed", "y", "z")) == b"x\r\nz\n"
    assert after(Edit("latin", "caf", "th")) == b"th\xe9\n"
    assert after(Edit("bom", "x", "y")) == b"\xef\xbb\xbfy\n"
    assert after(Edit("last", "no", "an")) == b"an end"
    assert after(Edit("wide", "x", "y")) == "y\r\n".encode("utf-16")
    (change,) = apply_whole_files([WholeFile("last", "other\n")], read)
    assert change.after == b"other"
    (change,) = apply_whole_files([WholeFile("a", "other")], read)
    assert change.after == b"other\n"


def test_a_character_that_the_encoding_lacks_is_refused() -> None:
    with pytest.raises(EdgeinferError, match="latin is not UTF-8, and cannot hold"):
        apply_edits([Edit("latin", "caf", "\u20ac")], read)


def test_a_new_file_ends_with_a_newline() -> None:
    (change,) = apply_edits([Edit("new", "", "x")], read)
    assert (change.before, change.after) == (None, b"x\n")


def test_the_diff_shows_what_would_not_be_seen() -> None:
    """Escapes, letters that reorder others, blanks of other kinds, a missing end."""
    old, new = "a\x1b[2J\n", "a\u202eb\u200b\u00a0\U000e0041\r"
    change = FileChange("f", old.encode(), new.encode(), old, new)
    assert list(change.diff()) == [
        "--- a/f",
        "+++ b/f",
        "@@ -1 +1 @@",
        "-a\\x1b[2J",
        "+a\\u202eb\\u200b\\xa0\\U000e0041\\x0d",
        "\\ No newline at end of file",
    ]


def test_a_text_like_gits_note_of_a_missing_end_hides_nothing() -> None:
    old, new = "x\n", "y = 1  # \\ No newline at end of file; evil()\nz \\ No newline at end of file\n"
    change = FileChange("f", old.encode(), new.encode(), old, new)
    assert list(change.diff())[3:] == ["-x", *(f"+{line}" for line in new.splitlines())]
