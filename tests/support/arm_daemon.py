"""A daemon on an emulated ARM machine, or beside it on this one, and what it answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

from tests.support.paths import ROOT

LIMIT = 900.0
"""Seconds for an answer, the loading of its model included."""

TOOLS = json.loads((ROOT / "docs/examples/tools.json").read_text())
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["room", "on"],
    "properties": {"room": {"enum": ["kitchen", "bedroom", "cellar"]}, "on": {"type": "boolean"}},
}


class Answers(NamedTuple):
    """What a model answers, always with the most likely token.

    The next likely one is far behind, so that how a processor rounds makes no difference.
    """

    chat: str
    stream: str
    call: dict[str, Any]


class Daemon:
    """`edgeinfer serve`, started by a command that may run it elsewhere; `run` runs others there."""

    def __init__(self, command: Sequence[str], run: Callable[..., str], env: dict[str, str] | None = None):
        self.lines: list[str] = []
        self.run = run
        self._listening = threading.Event()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,  # a signal to its group passes through what enters another machine
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self.lines.append(line)
            if "listening on" in line:
                self._listening.set()
        self._listening.set()  # it has ended

    def url(self) -> str:
        assert self._listening.wait(LIMIT)
        found = [line for line in self.lines if "listening on" in line]
        assert found, "".join(self.lines)
        return found[0].rpartition("listening on ")[2].strip()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + LIMIT
        while httpx.get(f"{self.url()}/ready", timeout=LIMIT).status_code != 200:
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(1)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._reader.join()  # the daemon is the last to close what it reads
        self._process.wait()
        assert self._process.stderr
        self._process.stderr.close()

    def fetch(self, path: str, body: dict[str, Any] | None = None) -> Any:
        method = "GET" if body is None else "POST"
        response = httpx.request(method, self.url() + path, json=body, timeout=LIMIT)
        assert response.status_code == 200, f"{response.text}\n{''.join(self.lines)}"
        return response.json()

    def answers(self, model: str) -> Answers:
        (call,) = self._chat(model, "Turn on the light in the kitchen", tools=TOOLS, tool_choice="required")[
            "tool_calls"
        ]
        return Answers(
            chat=self._chat(model, "What can you do?")["content"],
            stream="".join(self.stream(model)),
            call=call["function"],
        )

    def json(self, model: str) -> Any:
        """Return an answer to `SCHEMA`."""
        form = {"type": "json_schema", "json_schema": {"name": "light", "schema": SCHEMA}}
        return json.loads(
            self._chat(model, "The light in the cellar is off", response_format=form)["content"]
        )

    def _chat(self, model: str, question: str, **more: Any) -> Any:
        return self.fetch("/v1/chat/completions", _asked(model, question, **more))["choices"][0]["message"]

    def stream(self, model: str, kill_after: int | None = None) -> Iterator[str]:
        """Yield an answer as it comes, and kill the worker after so many parts."""
        asked = _asked(model, "How do I install a model?", stream=True)
        with httpx.stream("POST", f"{self.url()}/v1/chat/completions", json=asked, timeout=LIMIT) as response:
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                (choice,) = json.loads(line.removeprefix("data: "))["choices"]
                if text := choice["delta"].get("content"):
                    yield text
                    kill_after = kill_after and kill_after - 1
                    if kill_after == 0:
                        self.run("sh", "-c", f"kill -KILL {self.worker()}")
                        kill_after = None

    def worker(self) -> int:
        return self.fetch("/status")["worker_pid"]  # type: ignore[no-any-return]


@contextmanager
def running(
    command: Sequence[str], run: Callable[..., str], env: dict[str, str] | None = None
) -> Iterator[Daemon]:
    daemon = Daemon(command, run, env)
    try:
        daemon.wait_until_ready()
        yield daemon
    finally:
        daemon.close()


def _asked(model: str, question: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0, **more}
