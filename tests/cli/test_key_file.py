"""`edgeinfer key` writes the file of keys, whole or not at all."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from edgeinfer.server.auth.key_file import KeyFile
from tests.support.cli import run
from tests.support.keys import hashed, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_key_add_prints_a_key_once_and_keeps_its_hash(path: Path, tmp_path: Path) -> None:
    """With the limits it was given; `ls` shows all but the key."""
    limits = ("--requests-per-minute", "10", "--concurrent-requests", "0")
    done = run(tmp_path, "key", "add", "guest", *limits, EDGEINFER_API_KEY_FILE=str(path))
    key = done.stdout.strip()
    assert (done.returncode, key[:3]) == (0, "ei-")
    assert key not in path.read_text() + done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = KeyFile(path).keys.find(key.encode())
    assert found
    assert (found.name, found.requests_per_minute, found.concurrent_requests) == ("guest", 10, 0)
    listed = run(tmp_path, "key", "ls", "--api-key-file", str(path))
    assert listed.stdout.startswith("guest  ")
    assert listed.stdout.endswith(", 10 requests per minute, any number at a time\n")


def test_keys_as_json_are_for_programs(path: Path, tmp_path: Path) -> None:
    """Both what was made and what there is."""
    file = ("--api-key-file", str(path), "--json")
    made = json.loads(run(tmp_path, "key", "add", "a", *file).stdout)
    assert (made["name"], made["file"]) == ("a", str(path))
    assert KeyFile(path).accept(made["key"].encode())
    (listed,) = json.loads(run(tmp_path, "key", "ls", *file).stdout)
    assert (listed["name"], listed["requests_per_minute"]) == ("a", None)


def test_an_admin_key_is_asked_for(path: Path, tmp_path: Path) -> None:
    """It may load and unload models; `ls` says so."""
    file = ("--api-key-file", str(path))
    key = run(tmp_path, "key", "add", "me", "--admin", *file).stdout.strip()
    run(tmp_path, "key", "add", "guest", *file)
    found = KeyFile(path).keys.find(key.encode())
    assert found
    assert found.admin
    admins = {
        row["name"]: row["admin"] for row in json.loads(run(tmp_path, "key", "ls", *file, "--json").stdout)
    }
    assert admins == {"me": True, "guest": False}
    assert ", admin\n" in run(tmp_path, "key", "ls", *file).stdout


def test_key_rm_removes_one_and_tells_of_the_last(path: Path, tmp_path: Path) -> None:
    """Also one that was written by hand, by its line."""
    write(path, "# ours", "plain", hashed("a", "alpha"))
    file = ("--api-key-file", str(path))
    assert "line-2" in run(tmp_path, "key", "ls", *file).stdout
    assert run(tmp_path, "key", "rm", "line-2", *file).stderr == ""
    assert path.read_text() == f"# ours\n{hashed('a', 'alpha')}\n"
    done = run(tmp_path, "key", "rm", "a", *file)
    assert (done.returncode, path.read_text()) == (0, "# ours\n")
    assert "refuses all requests" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("add", "a b"), 2, "NAME"),
        (("add", "a\nb"), 2, "NAME"),
        (("add", "x" * 65), 2, "NAME"),
        (("add", "a"), 2, "already has a key of that name"),
        (("add", "b", "--requests-per-minute", "-1"), 2, "requests-per-minute"),
        (("rm", "b"), 1, "the keys are: a"),
    ],
)
def test_a_key_command_that_cannot_be_done_changes_nothing(
    path: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    """And says why."""
    write(path, hashed("a", "alpha"))
    done = run(tmp_path, "key", *arguments, "--api-key-file", str(path))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert path.read_text() == f"{hashed('a', 'alpha')}\n"


def test_keys_of_nowhere_are_none(path: Path, tmp_path: Path) -> None:
    """With what makes one."""
    done = run(tmp_path, "key", "ls", "--api-key-file", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    assert "edgeinfer key add" in done.stderr


def test_the_key_command_tells_the_system_s_log(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With who did it, and never the key."""
    told: list[str] = []
    monkeypatch.setattr("syslog.syslog", lambda _priority, text: told.append(text))
    done = run(tmp_path, "key", "add", "a", "--api-key-file", str(path), SUDO_USER="ada")
    run(tmp_path, "key", "rm", "a", "--api-key-file", str(path), SUDO_USER="ada")
    assert told == [f"key {what} name=a file={path} user=ada" for what in ("added", "removed")]
    assert done.stdout.strip() not in "".join(told)
