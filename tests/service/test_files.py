"""Files that are written together."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edgeinfer.errors import ServiceFailed
from edgeinfer.service.file_transaction import FileTransaction, ServiceFile, write_atomically


def tree(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file below a folder with its text and mode."""
    return {
        str(path.relative_to(folder)): (path.read_text(), stat.S_IMODE(path.stat().st_mode))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_change_is_written_and_taken_back(tmp_path: Path) -> None:
    """Contents, modes and created folders are undone."""
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o600)
    (tmp_path / "gone").write_text("gone")
    before = tree(tmp_path)
    change = FileTransaction()
    change.write(ServiceFile(tmp_path / "old", "new", 0o644))
    change.write(ServiceFile(tmp_path / "edgeinfer.service.d/a/b", "deep"))
    change.remove(tmp_path / "gone")
    assert tree(tmp_path) == {"old": ("new", 0o644), "edgeinfer.service.d/a/b": ("deep", 0o644)}
    change.undo()
    assert tree(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "old"]


def test_a_file_that_is_there_already_is_left_alone(tmp_path: Path) -> None:
    """A second installation changes nothing."""
    file = ServiceFile(tmp_path / "unit", "text", 0o640)
    FileTransaction().write(file)
    inode = file.path.stat().st_ino
    FileTransaction().write(file)
    assert file.path.stat().st_ino == inode
    file.path.chmod(0o600)
    assert not file.is_current()


def test_a_folder_of_ours_goes_with_its_last_file(tmp_path: Path) -> None:
    """It stays if it contains something else; other folders always stay."""
    ours, others = tmp_path / "edgeinfer.service.d", tmp_path / "system"
    for folder in (ours, others):
        folder.mkdir()
        (folder / "10.conf").write_text("")
        FileTransaction().remove(folder / "10.conf")
    assert not ours.exists()
    assert others.exists()
    ours.mkdir()
    for name in ("10.conf", "override.conf"):
        (ours / name).write_text("")
    FileTransaction().remove(ours / "10.conf")
    assert (ours / "override.conf").exists()


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """No temporary file is left, and the error has the reason."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(ServiceFailed, match="cannot write"):
        FileTransaction().write(ServiceFile(tmp_path / "folder", "text"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_replaced_file_is_never_half_there(tmp_path: Path) -> None:
    """Readers that have it open keep the old file; the name refers to the complete new one."""
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as held:
        write_atomically(path, b"new", 0o600)
        assert held.read() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
