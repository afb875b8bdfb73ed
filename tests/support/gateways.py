"""nginx, HAProxy and Caddy as the files in deploy/ set them up, on ports of a test."""

from __future__ import annotations

import base64
import contextlib
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.debian_programs import find_program, libraries
from tests.support.nano_daemon import NanoDaemon, free_port
from tests.support.paths import ROOT
from tests.support.server import eventually

NGINX = """
user root;
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/edgeinfer.conf;
}}
"""
"""What a distribution's nginx.conf says around ours."""

FILES = {
    "nginx": "nginx/edgeinfer.conf",
    "haproxy": "haproxy/haproxy.cfg",
    "caddy": "caddy/Caddyfile",
}


class Gateway:
    """A gateway that runs. `client` makes a client of it."""

    def __init__(self, port: int, key: str) -> None:
        self.port = port
        self.key = key

    def client(self, **headers: str) -> httpx.Client:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        shown = {"Host": "ai.example", "Authorization": f"Bearer {self.key}", **headers}
        return _Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers=shown,
            verify=context,
            timeout=60,
            trust_env=False,
        )


class _Client(httpx.Client):
    """Names ai.example in the handshake too."""

    def build_request(self, *args: Any, **kwargs: Any) -> httpx.Request:
        return super().build_request(
            *args,
            **{**kwargs, "extensions": {**(kwargs.get("extensions") or {}), "sni_hostname": "ai.example"}},
        )


def adapted(
    name: str,
    port: int,
    daemons: tuple[NanoDaemon, NanoDaemon],
    certificate: tuple[Path, Path],
    folder: Path,
    password: str | None,
    key: str,
) -> str:
    """The file in deploy/ with addresses of a test, and the lines for passwords put into force."""
    text = (ROOT / "deploy" / FILES[name]).read_text()
    both = folder / "both.pem"
    both.write_text(certificate[0].read_text() + certificate[1].read_text())
    for old, new in (
        ("10.0.0.11:11435", daemons[0].address),
        ("10.0.0.12:11435", daemons[1].address),
        ("/etc/ssl/ai.example.both.pem", str(both)),
        ("/etc/ssl/ai.example.pem", str(certificate[0])),
        ("/etc/ssl/ai.example.key", str(certificate[1])),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("\nai.example {", f"\nhttps://ai.example:{port} {{"),
    ):
        text = text.replace(old, new)
    if password is not None:
        text = _with_passwords(text, password, folder).replace("Bearer KEY", f"Bearer {key}")
    if name == "caddy":
        text = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + text
    return text


def _with_passwords(text: str, password: str, folder: Path) -> str:
    """Take the comment signs off, and put the password's hash where the file has an example."""
    hashed = subprocess.run(
        ["openssl", "passwd", "-5", password], check=True, capture_output=True, text=True
    ).stdout.strip()
    (folder / "htpasswd").write_text(f"ada:{hashed}\n")
    text = text.replace("/etc/nginx/edgeinfer.htpasswd", str(folder / "htpasswd"))
    lines = re.sub(
        r"^(\s*)# (auth_basic|proxy_set_header Auth|userlist|    user ada|http-request auth|http-request set-header Auth|basic_auth|\tada|}|request_header)",
        r"\1\2",
        text,
        flags=re.MULTILINE,
    )
    lines = lines.replace("$5$...", hashed)
    if "$2a$14$..." in lines:
        caddy = [str(find_program("caddy")), "hash-password", "--plaintext", password]
        lines = lines.replace(
            "$2a$14$...", subprocess.run(caddy, check=True, capture_output=True, text=True).stdout.strip()
        )
    return lines


@contextmanager
def gateway(
    name: str,
    daemons: tuple[NanoDaemon, NanoDaemon],
    certificate: tuple[Path, Path],
    folder: Path,
    key: str,
    *,
    password: str | None = None,
) -> Iterator[Gateway]:
    """Run a gateway; with `password`, user ada needs that instead of the key."""
    port = free_port()
    config = folder / Path(FILES[name]).name
    config.write_text(adapted(name, port, daemons, certificate, folder, password, key))
    program = str(find_program(name))
    match name:
        case "nginx":
            main = folder / "nginx.conf"
            main.write_text(NGINX.format(folder=folder))
            command = [program, "-c", str(main), "-p", str(folder), "-e", "stderr"]
        case "haproxy":
            command = [program, "-f", str(config), "-db"]
        case _:
            command = [program, "run", "--adapter", "caddyfile", "--config", str(config)]
    log = folder / "gateway.log"
    with log.open("wb") as file:
        variables = {**libraries(name), "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        process = subprocess.Popen(command, env=variables, stdout=file, stderr=file, cwd=folder)
    try:
        running = Gateway(port, key)
        auth = {} if password is None else {"Authorization": basic("ada", password)}
        with running.client(**auth) as client:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/ready").status_code == 200
                return False

            assert eventually(answers, 30), log.read_text()
        yield running
    finally:
        process.terminate()
        process.wait(30)


def basic(user: str, password: str) -> str:
    """The header of HTTP's basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Load:
    """Clients that ask all the time, each on a connection that it keeps, streamed and whole by turns.

    Attributes:
        answered: complete answers.
        cut: streams that ended early after they had begun.
        lost: what befell requests of which nothing had been streamed yet.
    """

    def __init__(self, gateway: Gateway, clients: int) -> None:
        self.answered = 0
        self.cut = 0
        self.lost: list[str] = []
        self._gateway = gateway
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def answer_more(self, count: int) -> None:
        """Wait until so many more requests have been answered."""
        goal = self.answered + count
        assert eventually(lambda: self.answered >= goal, 120), (self.answered, goal, self.lost)

    def _ask(self, number: int) -> None:
        with self._gateway.client() as client:
            while not self._end.is_set():
                number += 1
                error = self._stream(client) if number % 2 else self._whole(client)
                with self._lock:
                    if error is None:
                        self.answered += 1
                    elif error == "cut":
                        self.cut += 1
                    else:
                        self.lost.append(error)

    @staticmethod
    def _whole(client: httpx.Client) -> str | None:
        try:
            response = client.post("/v1/chat/completions", json=question(8))
        except httpx.TransportError as e:
            return f"whole: {e!r}"
        return None if response.status_code == 200 else f"whole: {response.status_code} {response.text}"

    @staticmethod
    def _stream(client: httpx.Client) -> str | None:
        seen = ""
        try:
            with client.stream("POST", "/v1/chat/completions", json=question(24, stream=True)) as response:
                if response.status_code != 200:
                    return f"stream: {response.status_code} {response.read().decode()}"
                for text in response.iter_text():
                    seen += text
        except httpx.TransportError as e:
            return "cut" if "data: " in seen else f"stream: {e!r}"
        if seen.endswith("data: [DONE]\n\n"):
            return None
        return "cut" if "data: " in seen else f"stream: {seen!r}"


def question(tokens: int, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What can you do?"}]
    return {"messages": messages, "max_tokens": tokens, **fields}
