"""What is written can be taken back, byte by byte."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgeinfer.connect import config_file
from edgeinfer.connect.changes import UndoRecord, planned
from edgeinfer.connect.edits import JsonValues, OwnFile
from edgeinfer.errors import EdgeinferError
from tests.support.users import NOBODY, needs_another_user

EDIT = JsonValues([(("url",), "http://here")])


@pytest.fixture
def record(tmp_path: Path) -> UndoRecord:
    return UndoRecord("zed", tmp_path / "state")


@pytest.mark.parametrize(
    "before",
    [b"{}", b'\xef\xbb\xbf{"a": 1}\r\n', b'// mine\n{\n\t"a": [1,],\n}', b"", '{"ä": "\u2028"}'.encode()],
)
def test_undo_gives_back_the_bytes_and_the_mode(record: UndoRecord, tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(before)
    path.chmod(0o640)
    (backup,) = record.write(planned("zed", [(path, EDIT)]))
    assert b"http://here" in path.read_bytes()
    assert path.read_bytes().startswith(b"\xef\xbb\xbf") == before.startswith(b"\xef\xbb\xbf")
    assert (backup.read_bytes(), _mode(backup), _mode(path)) == (before, 0o640, 0o640)
    record.undo()
    assert (path.read_bytes(), _mode(path), backup.exists()) == (before, 0o640, False)


def test_undo_removes_a_file_that_did_not_exist(record: UndoRecord, tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.json"
    assert record.write(planned("zed", [(path, EDIT)])) == []
    assert _mode(path) == 0o600
    record.undo()
    assert not path.exists()
    with pytest.raises(EdgeinferError, match="has not been connected"):
        record.undo()


def test_connecting_twice_is_undone_at_once(record: UndoRecord, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(b'{"url": "mine"}')
    record.write(planned("zed", [(path, EDIT)]))
    record.write(planned("zed", [(path, JsonValues([(("url",), "http://elsewhere")]))]))
    record.undo()
    assert path.read_bytes() == b'{"url": "mine"}'


def test_a_file_that_has_changed_since_is_not_lost(record: UndoRecord, tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    record.write(planned("zed", [(path, EDIT) for path in files]))
    files[1].write_bytes(b"mine")
    with pytest.raises(EdgeinferError, match=r"b\.json has changed since"):
        record.undo()
    assert files[0].exists()
    record.undo(force=True)
    assert not any(path.exists() for path in files)


def test_what_changed_while_the_user_was_asked_is_not_overwritten(record: UndoRecord, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    changes = planned("zed", [(path, EDIT)])
    path.write_bytes(b"mine")
    with pytest.raises(EdgeinferError, match="has changed meanwhile"):
        record.write(changes)
    assert path.read_bytes() == b"mine"


def test_what_files_were_is_for_the_user_alone(record: UndoRecord, tmp_path: Path) -> None:
    record.write(planned("zed", [(tmp_path / "a", OwnFile("text"))]))
    assert (_mode(record.path), _mode(record.path.parent)) == (0o600, 0o700)


def test_an_older_backup_is_kept(record: UndoRecord, tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(b"{}")
    (tmp_path / "settings.json.before-edgeinfer").write_bytes(b"older")
    (backup,) = record.write(planned("zed", [(path, EDIT)]))
    assert backup.name == "settings.json.before-edgeinfer.2"


def test_links_pipes_folders_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").write_bytes(b" " * (config_file.MAX_SIZE + 1))
    problems = {}
    for name in ("link", "dangling", "pipe", "folder", "huge"):
        with pytest.raises(EdgeinferError) as error:
            planned("zed", [(tmp_path / name, EDIT)])
        problems[name] = error.value.message.removeprefix(f"{tmp_path / name} ")
    assert problems == {
        "link": "is a link",
        "dangling": "is a link",
        "pipe": "is no plain file",
        "folder": "is no plain file",
        "huge": "has more than 4 MB",
    }


@needs_another_user
def test_the_file_of_another_user_is_not_replaced_by_one_of_root(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}")
    os.chown(path, NOBODY, NOBODY)
    with pytest.raises(EdgeinferError, match="belongs to another user"):
        planned("zed", [(path, EDIT)])


@pytest.mark.parametrize(("data", "problem"), [(b"\xff\xfe{}", "is not in UTF-8"), (b"{,", "line 1")])
def test_broken_files_are_refused_by_name_and_kept(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(data)
    with pytest.raises(EdgeinferError, match=f"settings.json.*{problem}") as error:
        planned("zed", [(path, EDIT)])
    assert error.value.hint == "to change it by hand: edgeinfer connect zed --print"
    assert path.read_bytes() == data


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
