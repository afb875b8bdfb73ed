"""API keys: the file they stand in, and a daemon that sees it change."""

from __future__ import annotations

import hmac
import logging
import os
import stat
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.server import audit
from edgeinfer.server.auth import key_file
from edgeinfer.server.auth.key_file import KeyFile, default_path, editing
from edgeinfer.server.auth.keys import Key, Keys, digest, generate, parse_line
from edgeinfer.settings import Settings
from tests.support.cli import run
from tests.support.keys import hashed, write
from tests.support.server import Scripted, Served, serving


def forbidden(_path: Path) -> Any:
    raise PermissionError(13, "Permission denied")


def spoil(lines: list[str]) -> None:
    lines.clear()
    raise RuntimeError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_a_key_has_256_random_bits_and_a_prefix() -> None:
    """So a fast hash is enough, and a scanner for secrets can find it."""
    first, second = generate(), generate()
    assert first != second
    assert first.startswith("ei-")
    assert len(first) == 3 + 43


def test_a_line_says_what_a_key_may() -> None:
    """And is read as it was written; a line of another kind is a key itself."""
    key = Key("lap.top", digest(b"k"), 10, 0, "2025-01-31")
    assert parse_line(key.line(), 1) == key
    assert "k " not in key.line().removeprefix("sha256:").partition(" ")[2]
    assert parse_line(" plain \r", 7) == Key("line-7", digest(b"plain"))
    assert [parse_line(line, 1) for line in ("", "  ", "# sha256:", " #x")] == [None] * 4


@pytest.mark.parametrize(
    "line",
    [
        "sha256:",
        "sha256:abc laptop",
        f"sha256:{'a' * 64}",
        f"sha256:{'z' * 64} laptop",
        f"sha256:{'a' * 64} lap/top",
        f"sha256:{'a' * 64} laptop requests_per_minute=many",
        f"sha256:{'a' * 64} laptop requests_per_minute=-1",
        f"sha256:{'a' * 64} laptop request_per_minute=1",
        f"sha256:{'a' * 64} laptop name=other digest=b",
    ],
)
def test_a_line_that_is_almost_a_hashed_key_is_none(line: str) -> None:
    """A limit that was mistyped must not let its holder in without one."""
    found = parse_line(line, 3)
    assert isinstance(found, str)
    assert found.startswith("line 3")


def test_every_key_is_compared_in_constant_time_whatever_is_presented(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many comparisons for a right one as for a wrong one, each over whole digests."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(a: Any, b: Any) -> bool:
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    keys = Keys(Key(name, digest(name.encode())) for name in "abcde")
    for presented in (b"a", b"e", b"x", b"", b"a" * 100_000):
        compared.clear()
        found = keys.find(presented)
        assert (found.name if found else None) == (presented.decode() if presented in (b"a", b"e") else None)
        assert compared == [(32, 32)] * 5


@pytest.mark.parametrize("lines", [[], ["# none", ""], ["sha256:abc x", "fine"]])
def test_a_file_without_keys_or_with_a_bad_line_is_an_error_at_the_start(
    path: Path, lines: list[str]
) -> None:
    """A typo would open the door, or shut it for all."""
    with pytest.raises(SettingsError) as caught:
        KeyFile(write(path, *lines))
    assert str(path) in caught.value.message


def test_a_missing_file_is_an_error_that_says_how_to_make_one(path: Path) -> None:
    """And a daemon does not start with it."""
    with pytest.raises(SettingsError) as caught, serving(Scripted(), api_key_file=str(path)):
        pass
    assert caught.value.hint == f"edgeinfer key add NAME --api-key-file {path}"


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_key_file_that_others_can_read_is_told(
    path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Told only: a container's secrets are often made so."""
    write(path, "alpha").chmod(mode)
    with caplog.at_level(logging.WARNING):
        assert KeyFile(path).accept(b"alpha")
    assert "chmod 600" in caplog.text


def test_a_changed_file_counts_at_the_next_look(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whether an editor wrote into it or another took its place; each difference is a line of the audit."""
    keys = KeyFile(write(path, hashed("a", "alpha"), hashed("b", "beta")))
    with caplog.at_level(logging.INFO, "edgeinfer.audit"):
        write(path, hashed("b", "beta", 5), hashed("c", "gamma"))
        assert [keys.accept(key) for key in (b"alpha", b"beta", b"gamma")] == [False, True, True]
        told = {record.getMessage() for record in caplog.records}
        assert told == {"key removed name=a", "key changed name=b", "key added name=c"}
        write(path.with_name("new"), hashed("a", "alpha")).replace(path)
        assert [keys.accept(key) for key in (b"alpha", b"beta", b"gamma")] == [True, False, False]


def test_a_bad_line_in_a_running_daemon_is_no_key_and_the_others_are(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told; nobody else is locked out, and what was removed beside it is gone."""
    keys = KeyFile(write(path, "alpha", "beta"))
    write(path, f"sha256:{digest(b'alpha').hex()} a concurrent=1", "gamma")
    assert [keys.accept(key) for key in (b"alpha", b"beta", b"gamma")] == [False, False, True]
    assert "line 1 (a)" in caplog.text


@pytest.mark.parametrize("what", ["empty", "gone"])
def test_without_keys_a_running_daemon_lets_nobody_in(
    path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It fails closed, says so once, and lets in again who has a key then."""
    keys = KeyFile(write(path, "alpha"))
    if what == "gone":
        path.unlink()
    else:
        write(path)
    assert not any(keys.accept(b"alpha") for _ in range(3))
    assert caplog.text.count("all requests are refused") == 1
    write(path, "alpha")
    assert keys.accept(b"alpha")


def test_while_the_file_cannot_be_read_the_last_keys_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As when there are no descriptors left for a moment; it is tried again with each request, and told once."""
    keys = KeyFile(write(path, "alpha"))
    write(path, "beta!")

    def fail(_path: Path) -> Any:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as broken:
        broken.setattr(key_file, "read", fail)
        assert [keys.accept(b"alpha") for _ in range(3)] == [True] * 3
    assert caplog.text.count("Too many open files") == 1
    assert [keys.accept(key) for key in (b"alpha", b"beta!")] == [False, True]


def test_a_new_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """From the first moment on, and so is its folder."""
    path = tmp_path / "edgeinfer" / "keys"
    with editing(path) as lines:
        lines.append("alpha")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_an_edit_replaces_the_file_whole_or_not_at_all(path: Path) -> None:
    """Comments and keys by hand stay; a reader finds the old file or the new one."""
    write(path, "# ours", "alpha").chmod(0o640)
    before = path.stat().st_ino
    with editing(path) as lines:
        lines.append("beta")
    assert path.read_text() == "# ours\nalpha\nbeta\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.stat().st_ino != before
    with pytest.raises(RuntimeError), editing(path) as lines:
        spoil(lines)
    assert path.read_text() == "# ours\nalpha\nbeta\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_edit_through_a_link_leaves_the_link(path: Path, tmp_path: Path) -> None:
    """Secrets are often mounted so."""
    real = write(tmp_path / "real", "alpha")
    path.symlink_to(real)
    with editing(path) as lines:
        lines.append("beta")
    assert path.is_symlink()
    assert real.read_text() == "alpha\nbeta\n"


def test_two_who_edit_at_once_lose_nothing(path: Path) -> None:
    """They wait for each other."""

    def add(name: str) -> None:
        for n in range(10):
            with editing(path) as lines:
                lines.append(f"{name}{n}")

    threads = [threading.Thread(target=add, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(path.read_text().splitlines()) == 20


def test_what_cannot_be_written_is_a_settings_error(tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError), editing(tmp_path / "file" / "keys"):
        pass


def test_the_usual_file_counts_once_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another can be named, and none by an empty name."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    usual = tmp_path / "edgeinfer" / "keys"
    assert default_path(environ) == usual
    assert key_file.key_file(Settings(), environ) is None
    usual.parent.mkdir()
    write(usual, "alpha")
    assert key_file.key_file(Settings(), environ) == str(usual)
    assert key_file.key_file(Settings(api_key_file=""), environ) is None
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", forbidden)
        assert key_file.key_file(Settings(), environ) == str(usual)  # never open because it cannot be seen
    assert key_file.key_file(Settings(api_key_file="/other"), environ) == "/other"


def test_root_and_the_system_s_service_have_a_file_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for both, so that `sudo edgeinfer key add` makes keys for the service."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_path({}) == Path("/var/lib/edgeinfer/keys")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_path({"STATE_DIRECTORY": "/var/lib/edgeinfer"}) == Path("/var/lib/edgeinfer/keys")
    assert default_path({"HOME": "/h", "STATE_DIRECTORY": "/x"}) == Path("/h/.config/edgeinfer/keys")


def test_an_audit_line_cannot_be_forged() -> None:
    """What is not plain is quoted."""
    assert audit.line("key added", name="laptop", file="/a/b") == "key added name=laptop file=/a/b"
    assert audit.line("x", name='a" b=c\n') == 'x name="a\\" b=c\\n"'
    assert audit.line("x", name="") == 'x name=""'


def status(served: Served, key: str) -> int:
    return served.client.get("/v1/models", headers={"x-api-key": key}).status_code


def test_a_running_daemon_takes_a_new_key_and_refuses_a_removed_one(path: Path, tmp_path: Path) -> None:
    """Without a restart, on a connection that is open already."""
    write(path, hashed("first", "alpha"))
    file = ("--api-key-file", str(path))
    with serving(Scripted(), api_key_file=str(path)) as served:
        assert status(served, "alpha") == 200
        key = run(tmp_path, "key", "add", "second", *file).stdout.strip()
        assert status(served, key) == 200
        run(tmp_path, "key", "rm", "first", *file)
        assert (status(served, "alpha"), status(served, key)) == (401, 200)


def test_the_hash_is_not_the_key(path: Path) -> None:
    """Who can read the file cannot use it."""
    write(path, hashed("a", "alpha"))
    with serving(Scripted(), api_key_file=str(path)) as served:
        for stolen in (path.read_text().strip(), digest(b"alpha").hex(), f"sha256:{digest(b'alpha').hex()}"):
            assert status(served, stolen) == 401
        with httpx.Client(base_url=served.url, headers={"authorization": "Bearer alpha"}) as client:
            assert client.get("/v1/models").status_code == 200


def test_a_pipe_with_a_name_is_no_key_file(tmp_path: Path) -> None:
    """Opening it would wait for ever for someone who writes."""
    os.mkfifo(path := tmp_path / "keys")
    with pytest.raises(SettingsError, match="it is a pipe, not a file"):
        KeyFile(path)


def test_a_key_file_that_becomes_a_pipe_keeps_its_last_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("a-key-that-somebody-wrote-by-hand\n")
    file = KeyFile(path)
    path.unlink()
    os.mkfifo(path)
    assert file.accept(b"a-key-that-somebody-wrote-by-hand")
