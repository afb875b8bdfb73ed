"""HTTPS from files: served, refused where they are of no use, and renewed without a restart."""

from __future__ import annotations

import logging
import resource
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from edgeinfer.errors import SettingsError
from edgeinfer.server.http import connections, tls
from edgeinfer.server.http.protocol import TimeoutProtocol
from edgeinfer.server.http.tls import Certificate, certificate
from edgeinfer.settings import Settings
from tests.support.cli import environment, run
from tests.support.cli import serving as serving_process
from tests.support.raw_http import connected, read_all
from tests.support.server import Scripted, eventually, serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make certificates")

REQUEST = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -subj /CN=board.lan"


def make(folder: Path, *more: str) -> tuple[Path, Path]:
    """A certificate for board.lan, signed by itself, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    options = more or ("-nodes",)
    name = ("-addext", "subjectAltName=DNS:board.lan")
    command = [*REQUEST.split(), *name, *options, "-out", str(cert), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return make(tmp_path)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make(tmp_path_factory.mktemp("others"))


def settings(files: tuple[Path, Path]) -> dict[str, Any]:
    return {"tls_cert": str(files[0]), "tls_key": str(files[1])}


def client(cert: Path, url: str) -> httpx.Client:
    """One that trusts `cert` alone, and knows the daemon by that name."""
    context = ssl.create_default_context(cafile=cert)
    context.check_hostname = False
    return httpx.Client(base_url=url.replace("http:", "https:"), verify=context, timeout=30)


def test_https_is_served_and_http_is_not(files: tuple[Path, Path]) -> None:
    """With everything that holds for HTTP; nothing older than TLS 1.2."""
    with serving(Scripted(), **settings(files)) as served, client(files[0], served.url) as https:
        found = https.post("/v1/completions", json={"prompt": "x", "stream": True})
        assert (found.status_code, "[DONE]" in found.text) == (200, True)
        assert https.get("/health", headers={"host": "evil.example"}).status_code == 403
        with pytest.raises(httpx.TransportError):
            served.client.get("/health")
    assert Certificate(*files).context.minimum_version >= ssl.TLSVersion.TLSv1_2


SILENCE = (b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01\x00")
"""Nothing, and beginnings of a handshake."""


@pytest.mark.parametrize("said", SILENCE, ids=repr)
def test_a_handshake_that_does_not_come_is_cut_off(
    files: tuple[Path, Path], said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the time that a request's head has, all together."""
    monkeypatch.setattr(TimeoutProtocol, "HEAD_TIMEOUT", 0.5)
    with serving(Scripted(), **settings(files)) as served, connected(served.port) as sock:
        sock.sendall(said)
        started = time.monotonic()
        read_all(sock)
        assert time.monotonic() - started < 10
        with client(files[0], served.url) as https:
            assert https.get("/health").status_code == 200


@pytest.mark.alone
def test_after_the_handshake_the_head_is_due_at_the_same_time(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second connection's worth of time would be had for a handshake otherwise."""
    monkeypatch.setattr(TimeoutProtocol, "HEAD_TIMEOUT", 2.0)
    context = ssl.create_default_context(cafile=files[0])
    context.check_hostname = False
    with serving(Scripted(), **settings(files)) as served, connected(served.port) as sock:
        started = time.monotonic()
        time.sleep(1)
        with context.wrap_socket(sock) as secure:
            assert read_all(secure) == b""
        assert time.monotonic() - started < 2.9


def test_silent_connections_count_before_their_handshake(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is silent longest makes room, as without TLS."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 10)
    with serving(Scripted(), **settings(files)) as served, ExitStack() as stack:
        silent = [stack.enter_context(connected(served.port)) for _ in range(30)]
        for sock in silent[::2]:
            sock.sendall(SILENCE[1])
        with client(files[0], served.url) as https:
            for _ in range(3):
                assert https.get("/health").status_code == 200
        assert read_all(silent[0]) == b""


@pytest.mark.slow
def test_two_thousand_silent_connections_take_twenty_kilobytes_each(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    """Not the quarter of a megabyte that asyncio would have for each handshake."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < 4096:
        pytest.skip("this machine allows too few open files")
    options = ("--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    with serving_process(tmp_path, "--port", "0", *options) as (process, address), ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        daemon = psutil.Process(process.pid)
        before = daemon.memory_info().rss
        for n in range(2000):
            sock = stack.enter_context(connected(int(address.rpartition(":")[2])))
            sock.sendall(SILENCE[n % 2])
        assert eventually(lambda: daemon.num_fds() > 1900, 20)
        assert daemon.memory_info().rss - before < 2000 * 20_000


def test_certificate_and_key_may_stand_in_one_file(files: tuple[Path, Path]) -> None:
    """As some tools write them."""
    files[0].write_text(files[0].read_text() + files[1].read_text())
    files[0].chmod(0o600)
    with serving(Scripted(), tls_cert=str(files[0])) as served, client(files[0], served.url) as https:
        assert https.get("/health").status_code == 200


def broken(files: tuple[Path, Path]) -> Iterator[tuple[str | None, str | None]]:
    cert, key = map(str, files)
    yield cert, None
    yield None, key
    yield key, cert
    yield cert, "/nowhere/key.pem"
    yield "/nowhere/cert.pem", key


def test_files_of_no_use_are_told_before_anything_is_loaded(
    files: tuple[Path, Path], others: tuple[Path, Path]
) -> None:
    """A certificate without a key, a key without a certificate, one that belongs to another, none at all."""
    for cert, key in [*broken(files), (str(files[0]), str(others[1]))]:
        with pytest.raises(SettingsError) as caught:
            certificate(Settings(tls_cert=cert, tls_key=key))
        assert caught.value.param in ("tls_cert", "tls_key")


def test_an_encrypted_key_is_an_error_and_no_question(tmp_path: Path) -> None:
    """A service has nobody to type a password."""
    files = make(tmp_path, "-passout", "pass:secret")
    with pytest.raises(SettingsError, match="encrypted"):
        certificate(Settings(**settings(files)))


def test_a_key_that_others_can_read_is_told(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """With what mends it."""
    certificate(Settings(**settings(files)))
    assert caplog.text == ""
    files[1].chmod(0o644)
    certificate(Settings(**settings(files)))
    assert f"chmod 600 {files[1]}" in caplog.text


@pytest.mark.parametrize(("host", "told"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_keys_that_cross_the_network_readable_are_told(
    host: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Loopback is no network."""
    assert certificate(Settings(host=host)) is None
    assert ("tls_cert" in caplog.text) is told


def test_a_unix_socket_has_no_tls(files: tuple[Path, Path]) -> None:
    """Nobody listens in there; `edgeinfer chat` starts its own daemon so, whatever the settings say."""
    assert certificate(Settings(uds="/tmp/s", **settings(files))) is None


async def test_a_renewed_certificate_is_served(
    files: tuple[Path, Path], others: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Once certificate and key fit each other again; until then the old one."""
    found = Certificate(*files)
    with caplog.at_level(logging.INFO):
        await found.renew()
        assert caplog.text == ""
        shutil.copy(others[0], files[0])
        await found.renew()
        assert "the old certificate stays" in caplog.text
        shutil.copy(others[1], files[1])
        await found.renew()
        assert "was renewed" in caplog.text
        files[1].unlink()
        await found.renew()
        assert caplog.text.count("the old certificate stays") == 2


def test_a_running_daemon_serves_a_renewed_certificate(
    files: tuple[Path, Path], others: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks now and then; connections that are open stay so."""
    assert 0 < tls.CHECK_INTERVAL <= 60
    monkeypatch.setattr(tls, "CHECK_INTERVAL", 0)
    with serving(Scripted(), **settings(files)) as served, client(files[0], served.url) as https:
        assert https.get("/health").status_code == 200
        shutil.copy(others[0], files[0])
        shutil.copy(others[1], files[1])
        assert https.get("/health").status_code == 200
        with client(others[0], served.url) as renewed:
            assert eventually(lambda: answers(renewed))


def answers(https: httpx.Client) -> bool:
    try:
        return https.get("/health").status_code == 200
    except httpx.ConnectError:
        return False


def test_the_commands_find_a_daemon_with_tls(files: tuple[Path, Path], tmp_path: Path) -> None:
    """By this machine's settings, whatever name the certificate is for; they trust that one certificate."""
    options = ("--tls-cert", str(files[0]), "--tls-key", str(files[1]))
    with serving_process(tmp_path, "--port", "0", *options) as (_, address):
        assert address.startswith("https://127.0.0.1:")
        port = address.rpartition(":")[2]
        here = {"EDGEINFER_PORT": port, "EDGEINFER_TLS_CERT": str(files[0])}
        assert run(tmp_path, "chat", "Hello", **here).returncode == 0
        assert "EDGEINFER_TLS_CERT" not in environment(tmp_path)
        other = run(tmp_path, "status", "--url", address)
        assert (other.returncode, "certificate verify failed" in other.stderr) == (1, True)
        missing = run(tmp_path, "status", EDGEINFER_PORT=port, EDGEINFER_TLS_CERT="/nowhere")
        assert (missing.returncode, "tls_cert /nowhere" in missing.stderr) == (1, True)
