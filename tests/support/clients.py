"""Programs of other people's client libraries, in the environment that requirements/clients.txt describes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.paths import ROOT

LOCK = ROOT / "requirements" / "clients.txt"
RUNNER = ROOT / "tests" / "support" / "client_runner.py"
MAX_UNUSED_DAYS = 14
INHERITED = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1,localhost"}
"""The daemon is all that the clients may ask."""


def client_python() -> Path:
    """The Python that has the client libraries.

    Its environment is in ~/.cache/edgeinfer, shared by all checkouts with the same lock file; the first test that
    asks makes it. Fails if the packages cannot be had.
    """
    folder = _cache() / _key()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _remove_unused(folder.parent)
            _make(folder)
        (folder / "complete").touch()
    return folder / "bin" / "python"


def used_tokens(url: str, text: str) -> list[int]:
    """How many tokens a chat that begins with the text takes, and how many its answer, by the daemon's count."""
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    usage = httpx.post(f"{url}/v1/chat/completions", json=body).raise_for_status().json()["usage"]
    return [usage["prompt_tokens"], usage["completion_tokens"]]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeinfer" / "clients"


def _key() -> str:
    """Everything that decides what is installed."""
    return hashlib.sha256(LOCK.read_bytes() + sys.version.encode() + sys.base_prefix.encode()).hexdigest()[
        :16
    ]


def _make(folder: Path) -> None:
    _uv("venv", "--clear", "--python", sys.executable, str(folder))
    _uv("pip", "sync", "--require-hashes", "--python", str(folder / "bin" / "python"), str(LOCK))


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"the client libraries cannot be installed: {done.stderr}", pytrace=False)


def _remove_unused(environments: Path) -> None:
    oldest = time.time() - MAX_UNUSED_DAYS * 24 * 3600
    for complete in environments.glob("*/complete"):
        if complete.stat().st_mtime < oldest:
            shutil.rmtree(complete.parent)


def client_environment(home: Path, **more: str) -> dict[str, str]:
    """Variables for a client: no key, address or setting of whoever runs the tests."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, "HOME": str(home), **OFFLINE, **more}


class ClientProgram:
    """A file of tests/clients/programs/, running; `call` runs one of its functions and returns what that returned."""

    def __init__(self, python: Path, name: str, url: str, home: Path) -> None:
        self.url = url
        self._errors = home / f"{name}.log"
        path = ROOT / "tests" / "clients" / "programs" / f"{name}.py"
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [str(python), "-I", "-W", "ignore", str(RUNNER), str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=home,
                env=client_environment(home),
            )

    def call(self, function: str, *arguments: Any) -> Any:
        """The first argument that the function gets is the daemon's address."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([function, [self.url, *arguments]]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._errors.read_text()}
        if "error" in answer:
            pytest.fail(answer["error"], pytrace=False)
        return answer["value"]

    def close(self) -> None:
        self.process.kill()  # some libraries take seconds to end
        self.process.communicate()


StartProgram = Callable[[str], ClientProgram]
"""Takes the name of a program; the fixture `program` of tests/clients/ is one."""


@contextmanager
def client_program(python: Path, name: str, url: str, home: Path) -> Iterator[ClientProgram]:
    program = ClientProgram(python, name, url, home)
    try:
        yield program
    finally:
        program.close()
