"""Two ways to ask the model: through a running daemon, or llama.cpp alone without constraints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chat import render

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
LIMIT = 160
PATIENCE = 60.0

Messages = list[dict[str, Any]]
Tools = list[dict[str, Any]] | None


@dataclass(frozen=True)
class Answer:
    """The text of an answer, and its calls as name and arguments; a call that cannot be parsed has neither."""

    text: str
    calls: list[dict[str, Any]]


class Speaker(Protocol):
    """Answers a conversation, greedily."""

    def answer(self, messages: Messages, tools: Tools) -> Answer: ...

    def fill(self, prefix: str, suffix: str) -> str:
        """The text between the two."""
        ...


class Alone:
    """llama.cpp by itself: nothing keeps a call to its schema."""

    def __init__(self, path: Path) -> None:
        from llama_cpp import Llama

        self.model = Llama(str(path), n_ctx=2048, n_threads=1, verbose=False)

    def answer(self, messages: Messages, tools: Tools) -> Answer:
        text = self._say(render(messages, tools, generate=True))
        return Answer(CALL.sub("", text).strip(), [readable(found) for found in CALL.findall(text)])

    def fill(self, prefix: str, suffix: str) -> str:
        return self._say(f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>")

    def _say(self, text: str) -> str:
        model = self.model
        prompt = model.tokenize(text.encode(), add_bos=False, special=True)
        model.reset()
        said: list[int] = []
        for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
            if token in (model.token_eos(), model.token_bos()) or len(said) == LIMIT:
                break
            said.append(token)
        return str(model.detokenize(said, special=True).decode(errors="replace"))


class Served:
    """The daemon's API, as any client uses it: calls are constrained to the tools' schemas."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def answer(self, messages: Messages, tools: Tools) -> Answer:
        body: dict[str, Any] = {"messages": messages, "temperature": 0, "max_tokens": LIMIT}
        if tools:
            body |= {"tools": tools, "tool_choice": "auto"}
        message = self._post("/v1/chat/completions", body)["choices"][0]["message"]
        calls = [call["function"] for call in message.get("tool_calls") or []]
        read = [
            readable(json.dumps({"name": c["name"]})[:-1] + f', "arguments": {c["arguments"]}}}')
            for c in calls
        ]
        return Answer(message.get("content") or "", read)

    def fill(self, prefix: str, suffix: str) -> str:
        body = {"input_prefix": prefix, "input_suffix": suffix, "temperature": 0, "n_predict": LIMIT}
        return str(self._post("/infill", body)["content"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                return dict(json.load(reply))
        except urllib.error.HTTPError as error:
            raise SystemExit(f"the daemon answered {error.code}: {error.read().decode()}") from None


def readable(text: str) -> dict[str, Any]:
    try:
        call = json.loads(text)
    except ValueError:
        return {}
    return call if isinstance(call, dict) else {}


@contextmanager
def daemon(path: Path) -> Iterator[str]:
    """`edgeinfer serve` on a socket of its own choosing; gives its address."""
    with tempfile.TemporaryDirectory() as home:
        log = Path(home) / "log"
        environment = os.environ | {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_DATA_HOME": home}
        command = [
            sys.executable,
            "-m",
            "edgeinfer",
            "serve",
            "--model",
            str(path.resolve()),
            "--port",
            "0",
            "--ctx",
            "2048",
        ]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the daemon logs, once it says that it is ready."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"http://[\w.]+:\d+", log.read_text())
        if found and _ready(found[0]):
            return found[0]
        time.sleep(0.2)
    raise SystemExit(f"the daemon did not start:\n{log.read_text()}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
