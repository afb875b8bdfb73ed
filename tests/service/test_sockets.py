"""Sockets that a service manager holds and passes on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.errors import CannotListen, ModelLoadFailed, ModelNotFound, SettingsError
from edgeinfer.server.http.sockets import check_exposure, inherited_sockets, with_address
from edgeinfer.server.run import exit_status
from edgeinfer.settings import Settings
from tests.support.paths import ROOT

PASS_ON = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = sys.argv[1]
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""As a service manager does it: the descriptors are there, and the variables name the process itself."""


def listening(family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen()
    return sock


def passed(sockets: list[socket.socket], *command: str, **environ: str) -> subprocess.Popen[str]:
    """A process that gets `sockets` from descriptor 3 on."""
    count = len(sockets)

    def put_in_place() -> None:
        for number, sock in enumerate(sockets):  # clear of each other's way first
            os.dup2(sock.fileno(), 100 + number)
        for number in range(count):
            os.dup2(100 + number, 3 + number)

    return subprocess.Popen(
        [sys.executable, "-c", PASS_ON, str(count), *command],
        preexec_fn=put_in_place,
        pass_fds=range(3, 3 + count),
        env={**{k: v for k, v in os.environ.items() if not k.startswith("EDGEINFER_")}, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sockets_are_taken_over(tmp_path: Path) -> None:
    """They have the service manager's order, and children do not inherit them."""
    code = (
        "import os\nfrom edgeinfer.server.http.sockets import inherited_sockets\n"
        "for s in inherited_sockets(): print(s.getsockname(), s.get_inheritable())\n"
        "print([n for n in os.environ if n.startswith('LISTEN')])"
    )
    path = str(tmp_path / "s")
    with listening() as one, listening(socket.AF_UNIX, path) as other:
        process = passed([one, other], "-c", code)
        out, err = process.communicate(timeout=60)
        assert out.splitlines() == [f"{one.getsockname()} False", f"{path} False", "[]"], err


@pytest.mark.parametrize("environ", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_FDS": "1"}])
def test_sockets_of_another_process_are_not_ours(environ: dict[str, str]) -> None:
    """Variables inherited with the environment are removed."""
    assert inherited_sockets(environ) == []
    assert not any(name.startswith("LISTEN") for name in environ)


def test_only_listening_streams_are_of_use() -> None:
    """A datagram socket, or Accept=yes, is a mistake that the error explains."""
    code = (
        "from edgeinfer.server.http.sockets import inherited_sockets\nfrom edgeinfer.errors import SettingsError\n"
        "try: inherited_sockets()\nexcept SettingsError as e: print(e.message, '|', e.hint)"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        out, _ = passed([datagrams], "-c", code).communicate(timeout=60)
    assert "descriptor 3" in out
    assert "edgeinfer.socket" in out
    with socket.socket() as idle:
        out, _ = passed([idle], "-c", code).communicate(timeout=60)
    assert "not a listening stream socket" in out


def test_settings_follow_the_sockets() -> None:
    """Protection depends on where the daemon really listens, not on its settings."""
    with listening() as local, listening(address=("0.0.0.0", 0)) as everywhere:
        port = everywhere.getsockname()[1]
        settings = with_address(Settings(host="::1", uds="/s"), [local, everywhere])
        assert (settings.host, settings.port, settings.uds) == ("0.0.0.0", port, None)
        with pytest.raises(SettingsError, match="other machines"):
            check_exposure(settings)
        assert with_address(Settings(), [local]).port == local.getsockname()[1]
    assert with_address(Settings(port=5), []) == Settings(port=5)


def test_a_unix_socket_is_described_as_one(tmp_path: Path) -> None:
    """If there is a TCP socket too, that one counts, as its clients are less trusted."""
    path = str(tmp_path / "s")
    with listening(socket.AF_UNIX, path) as unix, listening() as tcp:
        assert with_address(Settings(), [unix]).uds == path
        assert with_address(Settings(uds="/other"), [unix, tcp]).uds is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("x"), 2),
        (CannotListen("x"), 1),
        (ModelNotFound("x"), 3),
        (ModelLoadFailed("x"), 3),
    ],
)
def test_the_exit_status_says_whether_another_start_would_help(error: SettingsError, status: int) -> None:
    """The unit lists statuses without a restart. A port in use may soon be free."""
    assert exit_status(error) == status


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--model", "/no/such.gguf"], 3), (["--host", "0.0.0.0"], 2), (["--ctx", "x"], 2)],
)
def test_a_daemon_that_cannot_start_says_so_by_its_exit_status(
    tmp_path: Path, arguments: list[str], status: int
) -> None:
    """It ends before it has bound anything."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EDGEINFER_")}
    done = subprocess.run(
        [sys.executable, "-m", "edgeinfer", "serve", "--port", "0", *arguments],
        env={**clean, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr


@pytest.mark.slow
def test_the_daemon_serves_what_waited_while_it_started(tmp_path: Path) -> None:
    """It serves TCP and a unix socket, which it does not remove."""
    path = str(tmp_path / "s")
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with listening() as tcp, listening(socket.AF_UNIX, path) as unix:
        url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
        process = passed([tcp, unix], "-m", "edgeinfer", "serve", "--model", "fake", "--port", "1", **home)
        with process:
            body = {"prompt": "x", "max_tokens": 2}
            assert httpx.post(f"{url}/v1/completions", json=body, timeout=60).status_code == 200
            with httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://localhost") as client:
                assert client.get("/ready").status_code == 200
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(30) == 0
            assert time.monotonic() - began < 20
    assert Path(path).exists()
