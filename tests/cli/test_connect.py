"""`edgeinfer connect`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeinfer.connect.catalogue import APPS
from tests.support.cli import Terminal, run
from tests.support.daemon import edgeinfer

SETTINGS = Path(".config/zed/settings.json")
NO_DAEMON = "http://127.0.0.1:1"
WITH_FILES = [
    "aider",
    "opencode",
    "crush",
    "codex",
    "claude-code",
    "llm",
    "continue",
    "llama.vscode",
    "llama.vim",
    "zed",
    "copilot",
]
BY_HAND = ["openai", "open-webui", "jan", "home-assistant"]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon of its own process with the bundled model."""
    with edgeinfer(tmp_path_factory.mktemp("daemon"), "--port", "0") as process:
        yield process.url()


def test_every_app_is_tested() -> None:
    assert set(APPS) == {*WITH_FILES, *BY_HAND}


def test_without_an_app_it_lists_what_is_found_and_connected(tmp_path: Path) -> None:
    (tmp_path / ".config/zed").mkdir(parents=True)
    assert re.search(r"^zed +found +[0-9,]+ +Zed", run(tmp_path, "connect", PATH="").stdout, re.MULTILINE)
    run(tmp_path, "connect", "zed", "--yes")
    listed = run(tmp_path, "connect", PATH="").stdout
    assert re.search(r"^zed +connected +[0-9,]+ +Zed", listed, re.MULTILINE)
    assert re.search(r"^aider +- +8,192 +aider$", listed, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("contineu", "did you mean 'continue'?"), ("claud", "did you mean 'claude-code'?"), ("x", "lists them")],
)
def test_a_name_that_is_none_is_answered_with_the_one_that_was_meant(
    tmp_path: Path, name: str, hint: str
) -> None:
    done = run(tmp_path, "connect", name)
    assert done.returncode == 1
    assert hint in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("app", WITH_FILES)
def test_an_app_is_connected_tried_and_given_back(tmp_path: Path, url: str, app: str) -> None:
    done = run(tmp_path, "connect", app, "--yes", "--url", url)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"ok: the daemon answers what {APPS[app].title} asks (POST /" in done.stderr
    written = [Path(line.removeprefix("wrote ")) for line in done.stderr.splitlines() if line[:6] == "wrote "]
    assert written
    assert any(url in path.read_text() for path in written)
    again = run(tmp_path, "connect", app, "--yes", "--url", url)
    assert "is configured already" in again.stderr
    undone = run(tmp_path, "connect", app, "--undo")
    assert undone.stderr.splitlines() == [f"removed {path}" for path in written]
    assert not any(path.exists() for path in written)


@pytest.mark.slow
@pytest.mark.parametrize("app", BY_HAND)
def test_what_cannot_be_written_is_printed(tmp_path: Path, url: str, app: str) -> None:
    done = run(tmp_path, "connect", app, "--url", url)
    assert done.returncode == 0
    assert url in done.stdout
    assert "ok: the daemon answers" in done.stderr
    assert not (tmp_path / ".config").exists()


@pytest.mark.slow
def test_a_small_context_is_told_with_what_would_help(tmp_path: Path, url: str) -> None:
    said = run(tmp_path, "connect", "codex", "--check", "--url", url).stderr
    assert "Codex needs a context of about 32,768 tokens, and the daemon runs with 2,048" in said
    assert "edgeinfer-nano was trained for 2,048: choose another model" in said


@pytest.mark.slow
def test_a_model_that_the_daemon_has_not_is_refused(tmp_path: Path, url: str) -> None:
    done = run(tmp_path, "connect", "zed", "--yes", "--url", url, "--model", "gone")
    assert (done.returncode, done.stderr) == (
        1,
        "error: the daemon has no model 'gone'\nhint: its models are: edgeinfer-nano\n",
    )
    assert not (tmp_path / SETTINGS).exists()


@pytest.mark.slow
def test_a_key_is_asked_for_by_name_and_never_written(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("secret-of-mine\n")
    keys.chmod(0o600)
    daemon, home = tmp_path / "daemon", tmp_path / "home"
    daemon.mkdir()
    home.mkdir()
    with edgeinfer(daemon, "--port", "0", "--api-key-file", str(keys)) as process:
        where = ("--url", process.url())
        for app in WITH_FILES:
            done = run(home, "connect", app, "--yes", *where, EDGEINFER_API_KEY="secret-of-mine")
            assert (app, done.returncode) == (app, 0), done.stderr
        refused = run(home, "connect", "zed", "--check", *where)
    files = [path for path in home.rglob("*") if path.is_file()]
    assert [path for path in files if b"secret-of-mine" in path.read_bytes()] == []
    by_name = [p.name for p in files if b"EDGEINFER_API_KEY" in p.read_bytes() and p.suffix != ".undo"]
    assert sorted(by_name) == [
        "crushrc",
        "edgeinfer-completion.yaml",
        "edgeinfer.config.toml",
        "edgeinfer.json",
        "edgeinfer.vim",
        "edgeinfer.yaml",
        "opencode.json",
    ]
    assert refused.returncode == 1
    assert "pass a key with --api-key or in EDGEINFER_API_KEY" in refused.stderr


def test_without_a_daemon_the_app_is_configured_and_the_command_fails(tmp_path: Path) -> None:
    done = run(tmp_path, "connect", "zed", "--yes")
    assert done.returncode == 1
    assert "it could not be tried: no daemon answers at http://127.0.0.1:1\n" in done.stderr
    settings = json.loads((tmp_path / SETTINGS).read_text())
    assert settings["language_models"]["llama.cpp"]["api_url"] == "http://127.0.0.1:1"


def test_a_dry_run_prints_a_diff_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / SETTINGS
    path.parent.mkdir(parents=True)
    path.write_text('{\n  "theme": "One" // mine\n}\n')
    done = run(tmp_path, "connect", "zed", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith(f"--- {path}\n+++ {path}\n")
    assert '+      "api_url": "http://127.0.0.1:1",\n' in done.stdout
    assert [p.name for p in path.parent.iterdir()] == ["settings.json"]


def test_print_shows_what_to_write_by_hand(tmp_path: Path) -> None:
    done = run(tmp_path, "connect", "codex", "--print")
    assert done.stdout.startswith(f"# {tmp_path}/.codex/edgeinfer.config.toml\nmodel = ")
    assert "next: start it with: codex --profile edgeinfer\n" in done.stderr
    assert not (tmp_path / ".codex").exists()


def test_nothing_is_written_unless_somebody_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "connect", "zed")
    assert done.returncode == 1
    assert "--dry-run shows the changes; --yes writes them" in done.stderr
    assert not (tmp_path / SETTINGS).exists()


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_terminal_is_shown_the_changes_and_asked(tmp_path: Path, answer: str) -> None:
    terminal = Terminal(tmp_path, "connect", "zed")
    try:
        assert '"auto_discover": true' in terminal.expect(r"Write this\? \[y/N\] ")
        terminal.send(f"{answer}\n")
        terminal.expect("it could not be tried" if answer == "y" else "nothing is written")
        assert terminal.wait() == 1
    finally:
        terminal.close()
    assert (tmp_path / SETTINGS).exists() == (answer == "y")


def test_undo_refuses_what_has_changed_unless_it_is_forced(tmp_path: Path) -> None:
    run(tmp_path, "connect", "zed", "--yes")
    (tmp_path / SETTINGS).write_text("{}")
    refused = run(tmp_path, "connect", "zed", "--undo")
    assert refused.returncode == 1
    assert "has changed since" in refused.stderr
    assert "edgeinfer connect zed --undo --force" in refused.stderr
    assert run(tmp_path, "connect", "zed", "--undo", "--force").returncode == 0
    assert not (tmp_path / SETTINGS).exists()


def test_apps_cannot_use_a_socket(tmp_path: Path) -> None:
    done = run(tmp_path, "connect", "zed", "--yes", EDGEINFER_UDS=str(tmp_path / "socket"))
    assert done.returncode == 1
    assert "which apps cannot use" in done.stderr


@pytest.mark.parametrize("options", [("--undo", "--check"), ("--force",)])
def test_options_that_contradict_are_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run(tmp_path, "connect", "zed", *options).returncode == 2
