"""Changes are written as a whole, and taken back to the byte."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from edgeinfer.code.file_change import FileChange
from edgeinfer.code.undo_journal import UndoJournal
from edgeinfer.errors import EdgeinferError


@pytest.fixture
def journal(tmp_path: Path) -> UndoJournal:
    (tmp_path / "root").mkdir()
    return UndoJournal(tmp_path / "root", tmp_path / "state")


def test_a_change_is_written_and_taken_back_to_the_byte(journal: UndoJournal) -> None:
    """Mode and owner stay; a new file is gone again."""
    (journal.root / "a").write_bytes(b"old\r\n\xff")
    (journal.root / "a").chmod(0o751)
    journal.write([FileChange("a", b"old\r\n\xff", b"new"), FileChange("sub/b", None, b"b")])
    assert (journal.root / "a").read_bytes() == b"new"
    assert (journal.root / "a").stat().st_mode & 0o777 == 0o751
    assert (journal.root / "sub/b").read_bytes() == b"b"
    assert [change.name for change in journal.undo()] == ["a", "sub/b"]
    assert (journal.root / "a").read_bytes() == b"old\r\n\xff"
    assert (journal.root / "a").stat().st_mode & 0o777 == 0o751
    assert not (journal.root / "sub/b").exists()
    with pytest.raises(EdgeinferError, match="nothing to undo"):
        journal.undo()


def test_changes_are_taken_back_in_turn(journal: UndoJournal) -> None:
    (journal.root / "a").write_bytes(b"1")
    journal.write([FileChange("a", b"1", b"2")])
    journal.write([FileChange("a", b"2", b"3")])
    journal.undo()
    assert (journal.root / "a").read_bytes() == b"2"
    journal.undo()
    assert (journal.root / "a").read_bytes() == b"1"


def test_a_file_that_has_changed_since_is_not_overwritten(journal: UndoJournal) -> None:
    """By nobody's undo, and by no change that was made for another content."""
    (journal.root / "a").write_bytes(b"1")
    journal.write([FileChange("a", b"1", b"2")])
    (journal.root / "a").write_bytes(b"mine")
    with pytest.raises(EdgeinferError, match="a has changed since"):
        journal.undo()
    with pytest.raises(EdgeinferError, match="a has changed meanwhile"):
        journal.write([FileChange("a", b"2", b"3")])
    with pytest.raises(EdgeinferError, match="a exists by now"):
        journal.write([FileChange("a", None, b"3")])
    assert (journal.root / "a").read_bytes() == b"mine"


def test_a_change_can_be_forgotten_to_take_back_the_one_before(journal: UndoJournal) -> None:
    (journal.root / "a").write_bytes(b"1")
    journal.write([FileChange("a", b"1", b"2")])
    journal.write([FileChange("b", None, b"2")])
    (journal.root / "b").write_bytes(b"mine")
    assert [change.name for change in journal.forget()] == ["b"]
    journal.undo()
    assert ((journal.root / "a").read_bytes(), (journal.root / "b").read_bytes()) == (b"1", b"mine")
    with pytest.raises(EdgeinferError, match="nothing to undo"):
        journal.forget()


def test_if_one_file_cannot_be_written_none_is(journal: UndoJournal) -> None:
    """And nothing half-written is left, nor an entry to undo."""
    (journal.root / "a").write_bytes(b"1")
    with pytest.raises(OSError, match="name too long"):
        journal.write([FileChange("a", b"1", b"2"), FileChange("b" * 300, None, b"3")])
    (journal.root / "sub").write_bytes(b"a file")
    with pytest.raises(OSError, match="Not a directory"):
        journal.write([FileChange("a", b"1", b"2"), FileChange("sub/b", None, b"3")])
    assert sorted(path.name for path in journal.root.iterdir()) == ["a", "sub"]
    assert (journal.root / "a").read_bytes() == b"1"
    with pytest.raises(EdgeinferError, match="nothing to undo"):
        journal.undo()


def test_a_crash_between_two_files_can_be_taken_back(journal: UndoJournal) -> None:
    """The entry is there before the first file is written."""
    for name in ("a", "b"):
        (journal.root / name).write_bytes(b"1")
    journal.write([FileChange("a", b"1", b"2"), FileChange("b", b"1", b"2")])
    (journal.root / "b").write_bytes(b"1")  # as if it had not been written any more
    assert [change.name for change in journal.undo()] == ["a"]
    assert (journal.root / "a").read_bytes() == b"1"


def test_ctrl_c_while_files_are_written_waits_until_all_are(
    journal: UndoJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And arrives then. What was written can be taken back."""
    (journal.root / "a").write_bytes(b"1")
    rename = os.rename

    def interrupted(*arguments: Any, **folders: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        rename(*arguments, **folders)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.write([FileChange("a", b"1", b"2"), FileChange("b", None, b"2")])
    monkeypatch.undo()
    assert sorted(path.name for path in journal.root.iterdir()) == ["a", "b"]
    assert [(journal.root / name).read_bytes() for name in "ab"] == [b"2", b"2"]
    journal.undo()
    assert (journal.root / "a").read_bytes() == b"1"
    assert not (journal.root / "b").exists()


@pytest.mark.parametrize("name", ["/etc/x", "../x", "link/x", "a/../../x"])
def test_nothing_is_written_outside(name: str, journal: UndoJournal) -> None:
    """Whatever name a change has come to have."""
    (journal.root / "link").symlink_to(journal.root.parent)
    with pytest.raises(OSError, match=r"outside|Not a directory|symbolic"):
        journal.write([FileChange(name, None, b"x")])
    assert not (journal.root.parent / "x").exists()


def test_only_the_user_can_read_the_journal(journal: UndoJournal, tmp_path: Path) -> None:
    """It has the files' contents."""
    journal.write([FileChange("a", None, b"secret")])
    (entry,) = (tmp_path / "state").rglob("*.change")
    assert (entry.stat().st_mode & 0o777, entry.parent.stat().st_mode & 0o777) == (0o600, 0o700)
