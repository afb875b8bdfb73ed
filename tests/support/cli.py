"""Support for tests of the command line: a runner, a terminal, and a daemon that follows a script."""

from __future__ import annotations

import io
import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgeinfer.cli import main
from tests.support.paths import ROOT

EDGEINFER = [sys.executable, "-m", "edgeinfer"]
PATH = f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}"
"""As in an activated environment."""

HEAVY = (
    "httpx",
    "fastapi",
    "uvicorn",
    "rich",
    "numpy",
    "llama_cpp",
    "jinja2",
    "prometheus_client",
    "huggingface_hub",
)
"""What no command may import that is over in a moment."""

OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def environment(home: Path, **more: str) -> dict[str, str]:
    """The command's environment: no configuration of this machine, and a port where nothing listens."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEINFER_", "XDG_"))}
    own = {
        "HOME": str(home),
        "PATH": PATH,
        "XDG_STATE_HOME": str(home / ".local/state"),
        "EDGEINFER_PORT": "1",
        "EDGEINFER_STORE": str(home / "store"),
        "PYTHONPATH": str(ROOT),
        "TERM": "dumb",
        "COLUMNS": "100",
    }
    return inherited | own | more


def run(
    home: Path, *arguments: str, stdin: str | bytes = b"", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which saves a second each time."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    input_stream = io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin), "utf-8")
    before = sys.argv, sys.stdin, sys.excepthook, dict(os.environ)
    os.environ.clear()
    os.environ.update(environment(home, **env))
    sys.argv, sys.stdin = ["edgeinfer", *arguments], input_stream
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = main()
    finally:
        os.environ.clear()
        sys.argv, sys.stdin, sys.excepthook, variables = before
        os.environ.update(variables)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.detach().getvalue().decode())
    return subprocess.CompletedProcess(arguments, code, *texts)


class Terminal:
    """Runs a command in a terminal of its own, where Ctrl-C is a signal and Ctrl-D the end of input.

    `command`: what runs, if it is not edgeinfer.
    """

    def __init__(
        self,
        home: Path,
        *arguments: str,
        command: Sequence[str] = EDGEINFER,
        folder: Path | None = None,
        **env: str,
    ) -> None:
        self.master, slave = os.openpty()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                OWN_TERMINAL,
                shutil.which(command[0]) or command[0],
                *command[1:],
                *arguments,
            ],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment(home, **env),
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def send(self, text: str) -> None:
        os.write(self.master, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C once the command is waiting."""
        self.settle()
        self.send("\x03")

    def settle(self) -> None:
        """Wait until Python reads: a signal between its prompt and its read acts only at the next key."""
        time.sleep(0.7)

    def expect(self, pattern: str, timeout: float = 60.0) -> str:
        """Wait for `pattern` and return the output up to its end; later calls start after it."""
        deadline = time.monotonic() + timeout
        while not (match := re.search(pattern, self.seen)):
            if time.monotonic() > deadline or not self._read(deadline):
                raise AssertionError(f"{pattern!r} did not come; there is {self.seen!r}")
        before, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return before

    def wait(self, timeout: float = 30.0) -> int:
        """Read all output and return the exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline):
            pass
        return self.process.wait(max(deadline - time.monotonic(), 1))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)

    def _read(self, deadline: float) -> bool:
        if not select.select([self.master], [], [], max(deadline - time.monotonic(), 0))[0]:
            return False
        try:
            data = os.read(self.master, 4096)
        except OSError:  # Linux reports the closed other end like this
            return False
        self.seen += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(home: Path, *arguments: str, folder: Path | None = None, **env: str) -> Iterator[Terminal]:
    opened = Terminal(home, *arguments, folder=folder, **env)
    try:
        yield opened
    finally:
        opened.close()


class ScriptedDaemon(ThreadingHTTPServer):
    """Answers every prompt with the same deltas, and keeps the requests.

    `models`: those that /v1/models lists. `counts`: it has /tokenize, where a token is a character.
    `load_states`: states of the model that /models/load names, in the order in which /status shows them.
    """

    daemon_threads = True

    def __init__(
        self, deltas: Sequence[dict[str, Any] | str], *, endless: bool = False, port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.deltas = [{"content": d} if isinstance(d, str) else d for d in deltas]
        self.endless = endless
        self.finish_reason = "stop"
        self.error: tuple[int, dict[str, Any]] | None = None
        self.status: dict[str, Any] = {}
        self.models: list[dict[str, Any]] = []
        self.counts = True
        self.load_states: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.client_gone = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is not an error; the traceback would end up in the command's stderr."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def port(self) -> str:
        return str(self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    server: ScriptedDaemon
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/status" and self.server.load_states:
            self.server.status["models"][-1]["state"] = self.server.load_states.pop(0)
        if self.path == "/v1/models":
            self.reply(200, {"data": self.server.models})
        else:
            self.reply(200, self.server.status if self.path == "/status" else {"status": "ready"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/tokenize":
            characters = {"tokens": list(body["content"])}
            self.reply(200, characters) if self.server.counts else self.reply(404, {"detail": "Not Found"})
            return
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.error:
            self.reply(*self.server.error)
        elif body.get("stream"):
            self.stream()
        elif self.path.startswith("/models/"):
            self.server.requests[-1]["path"] = self.path
            self.reply(200, {"success": True})
        else:
            text = "".join(d.get("content", "") for d in self.server.deltas)
            self.reply(200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

    def reply(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for delta in self.server.deltas:
                self.event(delta if "error" in delta else {"choices": [{"index": 0, "delta": delta}]})
            while self.server.endless:
                self.event({"choices": [{"index": 0, "delta": {"content": "."}}]})
                time.sleep(0.02)
        except (BrokenPipeError, ConnectionResetError):
            self.server.client_gone.set()
            return
        self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": self.server.finish_reason}]})
        self.event(
            {"choices": [], "usage": {"completion_tokens": 12}, "timings": {"predicted_per_second": 43.21}}
        )
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, data: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n")


@contextmanager
def daemon(*deltas: dict[str, Any] | str, endless: bool = False, port: int = 0) -> Iterator[ScriptedDaemon]:
    server = ScriptedDaemon(deltas, endless=endless, port=port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.endless = False
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(home: Path, *options: str, config: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `edgeinfer serve` with the fake model; yields the process and the address it prints."""
    process = subprocess.Popen(
        [*EDGEINFER, "serve", "--model", "fake", *options],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home, EDGEINFER_CONFIG=config),
    )
    assert process.stderr
    try:
        match = re.search(r"listening on (\S+)", process.stderr.readline())
        assert match
        yield process, match[1]
    finally:
        process.terminate()
        process.communicate(timeout=30)
