"""Programs that `edgeinfer connect` configures, in an empty home each, as the registries of Python and npm have them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.cli import run
from tests.support.clients import client_environment, client_python
from tests.support.long_prompt_nano import CONTEXT, QUESTION, write_long_prompt_nano
from tests.support.nano_daemon import NanoDaemon
from tests.support.node import node_modules

TIMEOUT = 200

BESIDE = {
    ".config/opencode/opencode.json": '{\n  // mine\n  "autoupdate": false\n}\n',
    ".config/io.datasette.llm/extra-openai-models.yaml": "# mine\r\n- model_id: mine\r\n  model_name: mine",
}
"""Files of the user's that are there before, by their path in the home."""


class RealApp(NamedTuple):
    """How an app is had and asked.

    Attributes:
        folder: installs it, and returns the folder of its commands.
        command: a shell's line.
        route: what it asks of the daemon.
    """

    folder: Callable[[], Path]
    command: str
    route: str

    @property
    def program(self) -> str:
        return self.command.split(maxsplit=1)[0]


class Outcome(NamedTuple):
    """What came of a question.

    Attributes:
        answered: requests that the daemon has answered with 200.
    """

    version: str
    answered: int
    said: str


def _npm(package: str) -> Callable[[], Path]:
    return lambda: node_modules(package) / ".bin"


def _wheel(package: str, python: str) -> Callable[[], Path]:
    return lambda: _python_environment(package, python)


REAL_APPS = {
    "aider": RealApp(
        _wheel("aider-chat==0.86.2", ">=3.10,<3.13"),
        "aider --config ~/.aider.edgeinfer.yml --no-git --analytics-disable --no-check-update"
        f" --no-show-release-notes --no-pretty --message '{QUESTION}'",
        "/v1/chat/completions",
    ),
    "codex": RealApp(
        _npm("@openai/codex@0.171.0"),
        f"codex --profile edgeinfer exec --skip-git-repo-check '{QUESTION}'",
        "/v1/responses",
    ),
    "opencode": RealApp(
        _npm("opencode-ai@1.18.33"),
        f"opencode run --model edgeinfer/default '{QUESTION}'",
        "/v1/chat/completions",
    ),
    "claude-code": RealApp(
        _npm("@anthropic-ai/claude-code@2.1.197"),
        f"claude --settings ~/.claude/edgeinfer.json -p '{QUESTION}'",
        "/v1/messages",
    ),
    "continue": RealApp(
        _npm("@continuedev/cli@1.5.47"),
        f"cn --config ~/.continue/models/edgeinfer.yaml -p '{QUESTION}'",
        "/v1/chat/completions",
    ),
    "llm": RealApp(lambda: client_python().parent, f"llm -m edgeinfer '{QUESTION}'", "/v1/chat/completions"),
}
"""By the name that `connect` has for each. The others are not in these registries, or have no command line."""


def _python_environment(package: str, python: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeinfer" / "apps"
    folder = cache / package
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            uv = [sys.executable, "-m", "uv", "--quiet"]
            interpreter = str(folder / "bin/python")
            for command in (
                [*uv, "venv", "--clear", "--python", python, str(folder)],
                [*uv, "pip", "install", "--python", interpreter, package],
            ):
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    pytest.fail(f"{package} cannot be installed: {done.stderr[-1000:]}", pytrace=False)
            (folder / "complete").touch()
    return folder / "bin"


@contextmanager
def app_daemon(folder: Path) -> Iterator[NanoDaemon]:
    """Start a daemon whose model takes the prompts of every app."""
    model = folder / "edgeinfer-nano-long.gguf"
    write_long_prompt_nano(model)
    daemon = NanoDaemon(
        folder / "daemon", "--model", str(model), "--ctx", str(CONTEXT // 2), "--parallel", "2"
    )
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.kill()


def fill_home(home: Path) -> None:
    for name, text in BESIDE.items():
        path = home / name
        path.parent.mkdir(parents=True)
        path.write_bytes(text.encode())


def contents(home: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def connected(name: str, home: Path, url: str) -> list[Path]:
    """Connect an app, and return the files that were written."""
    done = run(home, "connect", name, "--yes", "--url", url)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return [Path(line.removeprefix("wrote ")) for line in lines if line.startswith("wrote ")]


def ask(app: RealApp, home: Path, daemon: NanoDaemon) -> Outcome:
    """Ask an app its question in an empty folder, from the configuration that is in the home."""
    variables = client_environment(home, TERM="dumb")
    variables["PATH"] = f"{app.folder()}:{variables['PATH']}"
    work = home / "work"
    work.mkdir()
    before = answered(daemon, app.route)
    version = _shell(f"{app.program} --version", work, variables).stdout.strip().splitlines()
    done = _shell(app.command, work, variables)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    return Outcome(version[-1] if version else "unknown", answered(daemon, app.route) - before, said)


def _shell(command: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = ["timeout", "--kill-after=5", str(TIMEOUT), "sh", "-c", f"exec {command}"]
    return subprocess.run(
        words,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def answered(daemon: NanoDaemon, route: str) -> int:
    labels = f'{{route="{route}",status="200"}}'
    return int(daemon.metric(f"requests_total{labels}"))
