"""`edgeinfer models load` and `unload`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import daemon, run

STATUS: dict[str, Any] = {"version": "0.1.0", "pid": 7, "state": "ready"}


def status(state: str, **more: Any) -> dict[str, Any]:
    """The report of a daemon with a second model in this state."""
    models = [{"name": "nano", "state": "ready", "default": True}, {"name": "b", "state": state, **more}]
    return {**STATUS, "models": models}


def test_load_waits_until_the_model_answers(tmp_path: Path) -> None:
    """Nothing on stdout, one line on stderr, and the key in the request."""
    with daemon() as server:
        server.status = status("loading")
        server.load_states = ["loading", "loading", "ready"]
        done = run(tmp_path, "models", "load", "b", EDGEINFER_PORT=server.port, EDGEINFER_API_KEY="k")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "b is loaded\n")
    assert server.requests == [{"model": "b", "path": "/models/load"}]
    assert (server.keys, server.load_states) == (["Bearer k"], [])


def test_a_model_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    """With the reason, and exit code 1."""
    with daemon() as server:
        server.status = status("loading", error="no such file")
        server.load_states = ["loading", "failed"]
        done = run(tmp_path, "models", "load", "b", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: no such file\nhint: edgeinfer logs\n"


def test_a_name_that_is_not_listed_is_taken_as_loaded(tmp_path: Path) -> None:
    """It is an alias: the daemon knows the model by its own name."""
    with daemon() as server:
        server.status = status("loading")
        done = run(tmp_path, "models", "load", "alias", EDGEINFER_PORT=server.port)
    assert (done.returncode, done.stderr) == (0, "alias is loaded\n")


def test_unload_says_so(tmp_path: Path) -> None:
    """By another address, too."""
    with daemon() as server:
        done = run(tmp_path, "models", "unload", "b", "--url", f"127.0.0.1:{server.port}", "--api-key", "k")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "b is unloaded\n")
    assert (server.requests, server.keys) == ([{"model": "b", "path": "/models/unload"}], ["Bearer k"])


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_a_refusal_is_passed_on(tmp_path: Path, verb: str) -> None:
    """An unknown model, a key that may not; and no daemon at all."""
    error = {"message": "no such model: 'b'", "type": "t", "code": "model_not_found", "param": "model"}
    with daemon() as server:
        server.error = (404, {"error": error})
        done = run(tmp_path, "models", verb, "b", EDGEINFER_PORT=server.port)
        assert (done.returncode, done.stderr) == (1, "error: no such model: 'b'\n")
        server.error = (401, {"error": {**error, "code": "invalid_api_key", "message": "no API key given"}})
        done = run(tmp_path, "models", verb, "b", EDGEINFER_PORT=server.port)
        assert "hint: pass a key with --api-key" in done.stderr
    assert "no daemon answers" in run(tmp_path, "models", verb, "b").stderr
