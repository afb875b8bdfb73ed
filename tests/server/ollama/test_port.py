"""`ollama_port`: the daemon on Ollama's port too."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from edgeinfer.errors import CannotListen
from edgeinfer.server.http.sockets import bind_ollama
from edgeinfer.settings import Settings
from tests.support.cli import EDGEINFER, environment
from tests.support.daemon import edgeinfer
from tests.support.server import eventually


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_all_apis_are_on_both_ports(tmp_path: Path) -> None:
    """And the same checks: no page whose name was made to resolve to this machine is let in."""
    ports = free_port(), free_port()
    options = ("--model", "fake:1", "--port", str(ports[0]), "--ollama-port", str(ports[1]))
    with edgeinfer(tmp_path, *options) as process:
        assert eventually(lambda: sum("listening on" in line for line in process.lines) == 2, 20)
        for port in ports:
            url = f"http://127.0.0.1:{port}"
            assert "Ollama is running" == httpx.get(url).text
            assert 200 == httpx.get(f"{url}/v1/models").status_code
            for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
                assert 403 == httpx.get(f"{url}/api/tags", headers=headers).status_code


def test_the_port_is_guarded_where_the_main_address_is_a_socket(tmp_path: Path) -> None:
    """A browser reaches the port, though not the socket."""
    port = free_port()
    options = ("--model", "fake:1", "--uds", str(tmp_path / "s"), "--ollama-port", str(port))
    with edgeinfer(tmp_path, *options) as process:
        assert eventually(lambda: sum("listening on" in line for line in process.lines) == 2, 20)
        url = f"http://127.0.0.1:{port}/api/tags"
        assert 403 == httpx.get(url, headers={"host": "evil.example"}).status_code
        assert 200 == httpx.get(url).status_code
        transport = httpx.HTTPTransport(uds=str(tmp_path / "s"))
        with httpx.Client(transport=transport) as client:
            assert 200 == client.get("http://any.example/api/tags").status_code


def test_a_port_in_use_is_reported_with_the_likely_reason(tmp_path: Path) -> None:
    """Before anything is loaded."""
    with socket.create_server(("127.0.0.1", 0)) as ollama:
        port = str(ollama.getsockname()[1])
        command = [*EDGEINFER, "serve", "--model", "fake:1", "--port", "0", "--ollama-port", port]
        done = subprocess.run(
            command, env=environment(tmp_path), capture_output=True, text=True, check=False, timeout=60
        )
    assert 1 == done.returncode
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Ollama is probably running" in done.stderr


def test_it_is_off_unless_it_is_set() -> None:
    assert [] == bind_ollama(Settings())
    with pytest.raises(CannotListen) as caught, socket.create_server(("127.0.0.1", 0)) as other:
        bind_ollama(Settings(ollama_port=other.getsockname()[1]))
    assert "ollama_port" == caught.value.param
