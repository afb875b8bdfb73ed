"""`edgeinfer install` for real: from another board's mirror to a service that answers, without a service manager."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edgeinfer.hub.mirror import mirror_app
from edgeinfer.service.systemd import BOOTED
from edgeinfer.store.catalogue import PACKAGE_DIR
from edgeinfer.store.lookup import BUNDLED_MODEL
from edgeinfer.store.store import Store
from tests.support.cli import run
from tests.support.mirror import add, serving

pytestmark = pytest.mark.skipif(
    BOOTED.is_dir(), reason="it would install a service of this machine's systemd"
)

NAME = "deepseek-r1-distill-qwen-1.5b"
CATALOGUE = f"""
["{NAME}"]
description = "As small as the bundled one, in the place of the model that is installed unasked"
licence = "Apache-2.0"
context = 2048
roles = ["chat"]
repo = "owner/tiny-GGUF"
files.Q8_0 = {{ file = "tiny-Q8_0.gguf" }}
files.F16 = {{ file = "tiny-F16.gguf" }}
shape = {{ arch = "qwen2", layers = 6, embedding = 256, heads = 4, kv_heads = 2, head_size = 64, \
feed_forward = 512, vocabulary = 2048, tied = true }}
"""


class Board:
    """A home directory, and a mirror to download from."""

    def __init__(self, home: Path, hub: str) -> None:
        self.home = home
        self.config = home / ".config/edgeinfer/config.toml"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._env = {"HF_ENDPOINT": hub, "EDGEINFER_PORT": str(self.port)}

    def run(self, *arguments: str, **more: str) -> tuple[int, str, str]:
        done = run(self.home, *arguments, **self._env | more)
        return done.returncode, done.stdout, done.stderr

    def install(self, *arguments: str, **more: str) -> tuple[int, str, str]:
        return self.run("install", "--user", "--no-calibrate", *arguments, **more)

    def serves(self) -> str:
        models = httpx.get(f"http://127.0.0.1:{self.port}/v1/models", trust_env=False).json()
        return str(models["data"][0]["id"])


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """The board's mirror has one of the two quantizations that the catalogue knows."""
    remote = Store(tmp_path / "there")
    data = (PACKAGE_DIR / "bundled/edgeinfer-nano.gguf").read_bytes()
    add(remote, data, name="tiny", quant="Q8_0", repo="owner/tiny-GGUF", file="tiny-Q8_0.gguf")
    home = tmp_path / "home"
    (home / ".config/edgeinfer").mkdir(parents=True)
    (home / ".config/edgeinfer/models.toml").write_text(CATALOGUE)
    with serving(mirror_app(remote)) as hub:
        machine = Board(home, hub)
        yield machine
        machine.run("service", "uninstall", "--user")


@pytest.mark.slow
def test_install_ends_with_a_service_that_answers_and_can_be_run_again(board: Board) -> None:
    code, output, errors = board.install("--auto-quant")
    assert 0 == code, errors
    assert "edgeinfer-nano" in output, "the answer of the model in its place"
    assert "curl" in errors
    assert NAME == board.serves()
    before = board.config.read_text()
    assert f'model = "{NAME}:Q8_0"' in before
    code, _, errors = board.install("--auto-quant", HF_ENDPOINT="http://127.0.0.1:9")
    assert 0 == code, errors
    assert "cannot check" in errors, "the hub is gone, and the model is here"
    assert (before, NAME) == (board.config.read_text(), board.serves())


@pytest.mark.slow
def test_an_install_that_fails_leaves_the_old_service_running(board: Board) -> None:
    assert 0 == board.install("--model", BUNDLED_MODEL)[0]
    assert BUNDLED_MODEL == board.serves()
    before = board.config.read_text()
    code, _, errors = board.install("--auto-quant", EDGEINFER_LOAD_TIMEOUT="0.001")
    assert 1 == code
    assert "not loaded within" in errors
    assert (before, BUNDLED_MODEL) == (board.config.read_text(), board.serves())


def test_a_dry_run_shows_files_and_commands_and_changes_nothing(board: Board) -> None:
    def files() -> set[Path]:
        return {p for p in board.home.rglob("*") if p.is_file() and ".cache" not in p.parts}

    before = files()
    code, output, _ = board.install("--auto-quant", "--dry-run")
    assert 0 == code
    assert f"$ edgeinfer pull {NAME}:Q8_0" in output
    assert f"# {board.config} " in output
    assert before == files()


def test_what_is_not_published_is_not_chosen_and_what_is_asked_for_is_an_error(board: Board) -> None:
    assert "Q8_0" in board.install("--dry-run")[1]
    code, _, errors = board.install("--quant", "Q5_K_M")
    assert 1 == code
    assert "hint: " in errors
    assert 1 == board.install("--auto-quant", "--quant", "Q8_0")[0]
    assert not board.config.exists()


def test_without_a_network_and_a_model_it_says_what_to_do(board: Board) -> None:
    code, _, errors = board.install("--auto-quant", "--offline")
    assert 1 == code
    assert "hint: " in errors
    assert not board.config.exists()


def test_json_of_the_service_names_the_configuration(board: Board) -> None:
    assert 0 == board.install("--no-start", "--model", BUNDLED_MODEL)[0]
    document = json.loads(board.run("service", "install", "--user", "--dry-run", "--json")[1])
    assert "none" == document["manager"]
    assert [] == [file["path"] for file in document["files"] if file["new"]]
