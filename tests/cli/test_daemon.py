"""The commands and the real daemon together; the model is the fake."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edgeinfer.cli.private_daemon import private_daemon
from edgeinfer.client import http
from tests.support.cli import EDGEINFER, environment, run, serving, terminal


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The port of a daemon."""
    with serving(tmp_path_factory.mktemp("serve"), "--port", "0") as (_, address):
        yield address.rpartition(":")[2]


def daemons_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """What `process` has started: its private daemon and that one's worker."""
    return psutil.Process(process.pid).children(recursive=True)


def test_chat_gets_an_answer_from_the_daemon(tmp_path: Path, port: str) -> None:
    """The same from a prompt and from a pipe, at the same seed."""
    typed = run(tmp_path, "chat", "--temperature", "0", "Hello", EDGEINFER_PORT=port)
    piped = run(tmp_path, "chat", "--temperature", "0", stdin="Hello", EDGEINFER_PORT=port)
    assert (typed.returncode, typed.stderr) == (0, "")
    assert typed.stdout == piped.stdout
    assert len(typed.stdout) > 1


def test_chat_json_is_the_daemons_answer(tmp_path: Path, port: str) -> None:
    """With usage and timings."""
    done = run(tmp_path, "chat", "--json", "--max-tokens", "3", "Hello", EDGEINFER_PORT=port)
    answer = json.loads(done.stdout)
    assert answer["object"] == "chat.completion"
    assert answer["usage"]["completion_tokens"] == 3
    assert answer["choices"][0]["finish_reason"] == "length"


def test_chat_knows_what_was_said_before(tmp_path: Path, port: str) -> None:
    """The second prompt of a conversation is longer by the first and its answer."""
    with terminal(tmp_path, "chat", "--temperature", "0", EDGEINFER_PORT=port) as t:
        for prompt in ("one", "two"):
            t.expect("> ")
            t.send(f"{prompt}\n")
            t.expect(r"\d+ tokens?, .* tok/s\n")
        t.send("/exit\n")
        assert t.wait() == 0


def test_chat_passes_the_daemons_refusal_on(tmp_path: Path, port: str) -> None:
    """A model that is not served."""
    done = run(tmp_path, "chat", "--model", "gpt-9", "Hello", EDGEINFER_PORT=port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no such model: 'gpt-9'; this daemon serves 'fake'")


def test_status_shows_the_daemon(tmp_path: Path, port: str) -> None:
    """Model, plan with its reasons, and the settings that were given."""
    done = run(tmp_path, "status", EDGEINFER_PORT=port)
    assert done.returncode == 0
    assert re.match(r"edgeinfer \S+ · ready · pid \d+ · up [^\n]+\nmodel     fake", done.stdout)
    assert (
        "\n          model = fake (flag)\n" in done.stdout or "settings  model = fake (flag)\n" in done.stdout
    )
    assert "- threads " in done.stdout


def test_a_second_model_is_loaded_and_unloaded(tmp_path: Path) -> None:
    """By its name or an alias; status and doctor know of it."""
    config = tmp_path / "config.toml"
    config.write_text('model = "fake"\n[models.other]\nmodel = "fake:1"\naliases = ["o"]\n')
    with serving(tmp_path, "--port", "0", config=str(config)) as (_, address):
        env = {"EDGEINFER_PORT": address.rpartition(":")[2], "EDGEINFER_CONFIG": str(config)}
        loaded = run(tmp_path, "models", "load", "o", **env)
        assert (loaded.returncode, loaded.stdout, loaded.stderr) == (0, "", "o is loaded\n")
        assert re.search(r"\n +other +ready ", run(tmp_path, "status", **env).stdout)
        findings = json.loads(run(tmp_path, "doctor", "--json", "--fast", **env).stdout)
        assert [f["text"] for f in findings if f["check"] == "model"] == ["fake", "other: fake"]
        [finding] = [f for f in findings if f["check"] == "daemon"]
        assert (finding["level"], finding["text"].split(" with ")[1]) == ("ok", "fake, other")
        assert run(tmp_path, "models", "unload", "other", **env).returncode == 0
        assert re.search(r"\n +other +unloaded", run(tmp_path, "status", **env).stdout)
        unknown = run(tmp_path, "models", "load", "nonsense", **env)
        assert (unknown.returncode, "no such model: 'nonsense'" in unknown.stderr) == (1, True)


def test_serve_stops_at_ctrl_c(tmp_path: Path) -> None:
    """Orderly: exit code 0, nothing but its log on stderr."""
    with serving(tmp_path, "--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_serve_on_a_unix_socket_is_found_by_the_settings(tmp_path: Path) -> None:
    """EDGEINFER_UDS is the daemon's and the client's setting alike."""
    with serving(tmp_path, "--uds", str(tmp_path / "s")) as (_, address):
        assert address == f"unix:{tmp_path / 's'}"
        assert run(tmp_path, "chat", "Hello", EDGEINFER_UDS=str(tmp_path / "s")).returncode == 0


def test_serve_with_keys_wants_one(tmp_path: Path) -> None:
    """chat takes it from the key file where it may read that, or is told how to give one."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    keys.chmod(0o600)
    with serving(tmp_path, "--port", "0", "--api-key-file", str(keys)) as (_, address):
        refused = run(tmp_path, "chat", "--url", address, "Hello")
        assert (refused.returncode, refused.stderr) == (
            1,
            "error: no API key given\nhint: pass a key with --api-key or in EDGEINFER_API_KEY\n",
        )
        port = address.rpartition(":")[2]
        assert run(tmp_path, "chat", "--url", address, "Hello", EDGEINFER_API_KEY="secret").returncode == 0
        assert (
            run(tmp_path, "chat", "Hello", EDGEINFER_PORT=port, EDGEINFER_API_KEY_FILE=str(keys)).returncode
            == 0
        )


def test_serve_on_a_taken_port_says_so(tmp_path: Path, port: str) -> None:
    """With what may be the reason."""
    done = subprocess.run(
        [*EDGEINFER, "serve", "--model", "fake", "--port", port],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 1
    assert f"error: cannot listen on 127.0.0.1:{port}: " in done.stderr
    assert "hint: edgeinfer status shows whether it is already running" in done.stderr


def test_chat_alone_starts_a_daemon_and_leaves_nothing(tmp_path: Path) -> None:
    """Where none runs: a private one, which needs no key; its folder is gone at the end."""
    keys = {"EDGEINFER_API_KEY_FILE": str(tmp_path / "not-for-us")}
    done = run(tmp_path, "chat", "Hello", TMPDIR=str(tmp_path), EDGEINFER_MODEL="fake", **keys)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 1
    assert list(tmp_path.glob("edgeinfer-*")) == []


def test_chat_alone_shows_why_its_daemon_did_not_start(tmp_path: Path) -> None:
    """The error with which it ended, and not as the last line of a log."""
    done = run(tmp_path, "chat", "--model", "nonsense", "Hello", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no such model: 'nonsense'\nhint: ")
    assert list(tmp_path.glob("edgeinfer-*")) == []


def test_ctrl_c_does_not_reach_the_private_daemon(tmp_path: Path) -> None:
    """It stops the answer, not who gives it."""
    with terminal(tmp_path, "chat", "--model", "fake", TMPDIR=str(tmp_path)) as t:
        t.expect("> ")
        t.interrupt()
        t.expect(r"to leave\)\n> ")
        t.send("Hello\n")
        t.expect(r"\d+ tokens?")
        t.send("/exit\n")
        assert t.wait() == 0


def test_a_private_daemon_that_listens_long_before_it_answers_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a slow board, where it imports for longer than a request waits."""
    monkeypatch.setattr(http, "TIMEOUT", 0.02)
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    with private_daemon(None, 60.0) as target, http.connect(target) as client:
        monkeypatch.undo()
        assert http.get_json(client, target, "/v1/models")["data"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_private_daemon_ends_with_its_chat(number: signal.Signals, tmp_path: Path) -> None:
    """However that ends."""
    with terminal(tmp_path, "chat", "--model", "fake", TMPDIR=str(tmp_path)) as t:
        t.expect("> ")
        started = daemons_of(t.process)
        assert len(started) >= 2
        t.settle()
        t.process.send_signal(number)
        _, alive = psutil.wait_procs(started, timeout=20)
        assert alive == []
        assert t.process.wait(20) == -number
    assert list(tmp_path.glob("edgeinfer-*")) == []


def test_chat_alone_runs_the_bundled_model(tmp_path: Path) -> None:
    """The first command on a fresh machine, without a network."""
    done = run(tmp_path, "chat", "--seed", "1", "--max-tokens", "200", "Hello", TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 1
