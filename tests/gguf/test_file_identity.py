"""Which file is this: path, size and time of change."""

from __future__ import annotations

import os
from pathlib import Path

from edgeinfer.gguf.file_identity import FileIdentity, file_identity


def test_a_link_has_the_identity_of_its_target(tmp_path: Path) -> None:
    """Two names of one file are one model."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    (tmp_path / "link.gguf").symlink_to(model)
    identity = file_identity(str(tmp_path / "link.gguf"))
    assert identity == file_identity(str(model))
    assert (str(model), 4, model.stat().st_mtime_ns) == (identity.path, identity.size, identity.mtime_ns)


def test_a_replaced_file_has_another_identity(tmp_path: Path) -> None:
    """Even with the same size under the same path."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    os.utime(model, ns=(1, 1))
    before = file_identity(str(model))
    os.utime(model, ns=(2, 2))
    assert before != file_identity(str(model))


def test_what_is_not_there_is_identified_by_its_path(tmp_path: Path) -> None:
    """The fake model has no file, and a file may have been deleted."""
    assert FileIdentity("fake:5") == file_identity("fake:5")
    assert FileIdentity(str(tmp_path / "none")) == file_identity(str(tmp_path / "none"))
