"""What is written can be taken back, byte by byte."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgeinfer.connect import config_file
from edgeinfer.connect.changes import UndoRecord, planned
from edgeinfer.connect.edits import Block, JsonValues, OwnFile
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


def test_a_dotfile_that_is_a_link_stays_one(record: UndoRecord, tmp_path: Path) -> None:
    """As where somebody keeps them in a repository: the file behind it is changed, and given back."""
    target, path = tmp_path / "dotfiles/settings.json", tmp_path / "settings.json"
    target.parent.mkdir()
    target.write_bytes(b"{}\r\n")
    path.symlink_to("dotfiles/settings.json")
    (change,) = planned("zed", [(path, EDIT)])
    record.write([change])
    assert (path.is_symlink(), b"http://here" in target.read_bytes()) == (True, True)
    path.unlink()
    record.undo()
    assert target.read_bytes() == b"{}\r\n"
    assert [file.name for file in target.parent.iterdir()] == ["settings.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("{}")
    path = tmp_path / "settings.json"
    path.symlink_to("target")
    os.chown(path, 65534, 65534, follow_symlinks=False)
    with pytest.raises(EdgeinferError, match="is a link"):
        planned("zed", [(path, EDIT)])


@pytest.mark.parametrize("before", [b"# mine\r\n- a: 1\r\n", b"- a: 1", b"# only a comment\n", b""])
def test_a_block_of_lines_is_given_back_to_the_byte(
    record: UndoRecord, tmp_path: Path, before: bytes
) -> None:
    """With the ends of lines that the file has, also if it ends without one."""
    path = tmp_path / "models.yaml"
    path.write_bytes(before)
    record.write(planned("llm", [(path, Block("- model_id: edgeinfer\n", yaml_list=True))]))
    now = path.read_bytes()
    assert now.count(b"\r\n") == (now.count(b"\n") if b"\r\n" in before else 0)
    record.undo()
    assert path.read_bytes() == before


def test_of_two_runs_at_once_the_second_one_writes_nothing(record: UndoRecord, tmp_path: Path) -> None:
    """And what the first one wrote can still be taken back."""
    path = tmp_path / "settings.json"
    path.write_bytes(b"{}")
    first, second = (planned("zed", [(path, JsonValues([(("url",), url)]))]) for url in ("a", "b"))
    record.write(first)
    with pytest.raises(EdgeinferError, match="has changed meanwhile"):
        UndoRecord("zed", record.path.parent.parent).write(second)
    record.undo()
    assert path.read_bytes() == b"{}"


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


def test_dangling_links_pipes_folders_and_huge_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").write_bytes(b" " * (config_file.MAX_SIZE + 1))
    problems = {}
    for name in ("dangling", "pipe", "folder", "huge"):
        with pytest.raises(EdgeinferError) as error:
            planned("zed", [(tmp_path / name, EDIT)])
        problems[name] = error.value.message.removeprefix(f"{tmp_path / name} ")
    assert problems == {
        "dangling": "is a link to nothing",
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
