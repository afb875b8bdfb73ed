"""Records of running daemons, which come from a folder that others may write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.daemon_record import DaemonRecord, read_records, record_folders


@pytest.mark.parametrize(
    "text",
    [
        b'{"pid": -1, "addresses": []}',
        b'{"pid": 0, "addresses": []}',
        b'{"pid": 1e9, "addresses": []}',
        b'{"pid": 1, "addresses": ["\xff"]}',
        b'{"pid": 1, "addresses": [], "x": ' + b"[" * 9000,
        b"",
    ],
)
def test_a_record_that_is_none_is_passed_by(text: bytes, tmp_path: Path) -> None:
    """A process of that number would be all processes, or our own group."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    folder = record_folders(environ)[0]
    folder.mkdir(parents=True)
    (folder / "1.json").write_bytes(text)
    (folder / "2.json").write_text(f'{{"pid": {os.getpid()}, "addresses": ["http://127.0.0.1:1"]}}')
    assert read_records(environ)[:1] == [DaemonRecord(os.getpid(), ["http://127.0.0.1:1"])]
