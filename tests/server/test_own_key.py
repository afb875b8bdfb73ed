"""The daemon's own user, and root, need no key of their own."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import httpx
import pytest

from edgeinfer.daemon_record import DaemonRecord, read_records, record_folders, recorded
from tests.support.cli import environment, run, serving


def test_its_user_is_let_in_without_a_key(tmp_path: Path) -> None:
    """Others are not. The key that makes the difference is in a file that only they can read."""
    keys = tmp_path / "keys"
    run(tmp_path, "key", "add", "laptop", "--api-key-file", str(keys))
    with serving(tmp_path, "--port", "0", "--api-key-file", str(keys)) as (process, url):
        settings = {"EDGEINFER_PORT": url.rpartition(":")[2], "EDGEINFER_API_KEY_FILE": str(keys)}
        assert 401 == httpx.get(f"{url}/status").status_code
        done = run(tmp_path, "status", "--json", **settings)
        assert process.pid == json.loads(done.stdout)["pid"], done.stderr
        (path,) = record_folders(environment(tmp_path))[0].iterdir()
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)
        assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
        lost = run(tmp_path, "status", **settings, XDG_STATE_HOME=str(tmp_path / "another"))
        assert 1 == lost.returncode
        assert "API key" in lost.stderr
        keys.unlink()
        assert run(tmp_path, "status", "--json", **settings).stdout, "whatever became of the file"
    assert not path.exists()


def test_a_reload_finds_the_daemon_under_its_old_address(tmp_path: Path) -> None:
    """The file has another port by now; systemd says which process is meant."""
    config = tmp_path / "config.toml"
    config.write_text("queue = 8\n")
    with serving(tmp_path, "--port", "0", config=str(config)) as (process, _):
        config.write_text("queue = 8\nport = 1\nhost = 'localhost'\n")
        here = {"EDGEINFER_CONFIG": str(config), "EDGEINFER_PORT": ""}
        assert 1 == run(tmp_path, "reload", **here).returncode
        done = run(tmp_path, "reload", **here, MAINPID=str(process.pid))
        assert 0 == done.returncode, done.stderr
        assert "warning: host takes effect after a restart" in done.stderr
        assert "serving fake, as before" in done.stdout


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "edgeinfer/running"


def test_what_is_not_a_record_is_skipped(state: Path, tmp_path: Path) -> None:
    """Root reads folders of users it does not trust: no pipe blocks it, no link leads it elsewhere."""
    with recorded(["http://127.0.0.1:1"], "ei-x"):
        wanted = [DaemonRecord(os.getpid(), ["http://127.0.0.1:1"], "ei-x")]
        os.mkfifo(state / "1.json")
        (tmp_path / "elsewhere").write_text((state / f"{os.getpid()}.json").read_text())
        (state / "2.json").symlink_to(tmp_path / "elsewhere")
        (state / "3.json").write_bytes(b"\xff" * 100)
        (state / "4.json").write_text('{"pid": 4}')
        (state / "5.json").mkdir()
        (state / "6.json").write_text("[" * 100_000)
        assert wanted == read_records()
    assert [] == read_records()


def test_records_of_the_dead_do_not_count_and_go(state: Path) -> None:
    """A daemon that was killed cannot remove its own."""
    state.mkdir(parents=True)
    dead = state / "4194305.json"  # above any process id
    dead.write_text('{"pid": 4194305, "addresses": ["http://127.0.0.1:1"], "key": "x"}')
    assert [] == read_records()
    with recorded([], None):
        assert not dead.exists()


def test_a_daemon_runs_without_a_place_for_its_record(state: Path) -> None:
    """As in a container whose file system is read-only."""
    state.parent.parent.mkdir(exist_ok=True)
    state.parent.write_text("a file")
    with recorded(["http://127.0.0.1:1"], None):
        assert [] == read_records()
