"""`edgeinfer install` for real: from another board's mirror to a service that answers, without a service manager."""

from __future__ import annotations

import importlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from edgeinfer.cli.chat_session import AnswerPrinter
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.service.systemd import BOOTED
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import PACKAGE_DIR
from edgeinfer.store.lookup import BUNDLED_MODEL
from edgeinfer.store.store import Store
from tests.support.cli import daemon, run
from tests.support.mirror import add, serving
from tests.support.paths import BUNDLED
from tests.support.server import INFO, Scripted
from tests.support.server import serving as served_by

# The package's attribute of that name is the command.
install = importlib.import_module("edgeinfer.cli.install")

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


CODERS = """
["{name}"]
description = "Completes code"
licence = "Apache-2.0"
context = 2048
roles = ["code", "chat"]
repo = "owner/tiny-coder-GGUF"
files.Q8_0 = {{ file = "{file}" }}
shape = {{ arch = "qwen2", layers = {layers}, embedding = 256, heads = 4, kv_heads = 2, head_size = 64, \
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
    add(remote, data, name="tiny-coder", quant="Q8_0", repo="owner/tiny-coder-GGUF", file="coder-Q8_0.gguf")
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


def test_an_upgrade_keeps_the_configured_model(board: Board) -> None:
    """What was chosen by name is not replaced by what the machine would choose."""
    board.config.write_text(f'model = "{BUNDLED_MODEL}"\n')
    code, output, errors = board.install("--dry-run")
    assert 0 == code, errors
    assert "keeping the configured model" in errors
    assert f'model = "{BUNDLED_MODEL}"' in output
    for chosen in (("--auto-quant",), ("--model", NAME), ("--quant", "Q8_0")):
        assert f'model = "{NAME}:Q8_0"' in board.install("--dry-run", *chosen)[1]


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


@pytest.mark.parametrize(
    ("model", "label"),
    [
        (f"{NAME}:Q8_0", f"{NAME}:Q8_0"),
        (f"{NAME.upper()}:q8_0", f"{NAME}:Q8_0"),
        ("owner/tiny-GGUF:Q8_0", "tiny:Q8_0"),
        ("hf.co/owner/tiny-GGUF", "tiny:Q8_0"),
        ("owner/tiny-GGUF/tiny-Q8_0.gguf", "tiny:Q8_0"),
        (str(BUNDLED), str(BUNDLED)),
        (BUNDLED_MODEL, BUNDLED_MODEL),
    ],
)
def test_a_model_is_named_as_for_the_other_commands(board: Board, model: str, label: str) -> None:
    if "owner/" in model:  # a repository that the catalogue does not know
        (board.home / ".config/edgeinfer/models.toml").unlink()
    code, output, errors = board.install("--dry-run", "--model", model)
    assert 0 == code, errors
    assert f'model = "{label}"' in output
    if "owner/" in model:
        assert "$ edgeinfer pull owner/tiny-GGUF:Q8_0" in output


@pytest.mark.slow
def test_a_model_of_a_repository_is_installed_and_named_later(board: Board) -> None:
    (board.home / ".config/edgeinfer/models.toml").unlink()
    assert 0 == board.install("--no-start", "--model", "owner/tiny-GGUF:Q8_0")[0]
    for name in ("tiny", "tiny:Q8_0", "owner/tiny-GGUF"):
        code, output, errors = board.install("--dry-run", "--model", name, HF_ENDPOINT="http://127.0.0.1:9")
        assert 0 == code, errors
        assert 'model = "tiny:Q8_0"' in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "./none.gguf"), "no such file"),
        (("--model", f"{NAME}:Q8_0", "--quant", "Q4_0"), "contradicts"),
        (("--model", str(BUNDLED), "--quant", "Q4_0"), "a file has its quantization"),
        (("--revision", "main"), "needs a --model"),
        (("--model", f"{NAME}:Q9_9"), "is not available"),
        (("--model", "tinny"), "no such model"),
    ],
)
def test_a_name_that_is_none_is_told(board: Board, arguments: tuple[str, ...], words: str) -> None:
    code, _, errors = board.install(*arguments)
    assert (1, True) == (code, words in errors), errors
    assert not board.config.exists()


def test_a_revision_is_that_of_the_repository(board: Board) -> None:
    """As the error of a wrong checksum advises."""
    code, _, errors = board.install("--dry-run", "--model", NAME, "--revision", "0" * 40)
    assert (1, True) == (code, "0" * 12 in errors or "revision" in errors), errors


@pytest.mark.parametrize("arguments", [("--model", NAME), ("--auto-quant",)])
def test_without_a_network_the_plan_comes_first_and_then_ways_on(
    board: Board, arguments: tuple[str, ...]
) -> None:
    gone = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    code, output, errors = board.install(*arguments, "--dry-run", **gone)
    assert 0 == code, errors
    assert f'model = "{NAME}:' in output
    assert "warning: no connection to 127.0.0.1:9" in errors
    code, _, errors = board.run("install", "--user", *arguments, **gone)  # and nothing is measured first
    assert 1 == code
    plan, _, error = errors.partition("error: no connection")
    assert f"{NAME}:" in plan
    assert "measuring" not in errors
    for way in ("HF_ENDPOINT=", "--model FILE.gguf", "--model edgeinfer-nano"):
        assert way in error
    assert not board.config.exists()


def test_the_first_question_ends_soon(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """However long the model would go on."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(install, "MAX_ANSWER_SECONDS", 0.3)
    with daemon("I am", endless=True) as server:
        install.ask(Settings(port=int(server.port)))
        assert server.client_gone.wait(30)
    assert install.MAX_ANSWER_TOKENS == server.requests[0]["max_tokens"] <= 200
    assert "I am" in capsys.readouterr().out


def test_a_question_that_is_stopped_does_not_lose_what_comes_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the answer, not the installation."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AnswerPrinter, "add", interrupt)
    with daemon("I am") as server:
        install.ask(Settings(port=int(server.port)))
    assert "(stopped)" in capsys.readouterr().err


def test_a_model_that_does_not_chat_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    """It is installed all the same."""
    with served_by(Scripted(info=replace(INFO, generates=False, reranks=True))) as served:
        install.ask(Settings(port=httpx.URL(served.url).port or 0))
    assert "was made to score documents, and cannot generate text" in capsys.readouterr().err


def test_a_model_for_code_is_installed_beside_the_other_where_both_fit(board: Board) -> None:
    """The largest that does. The service keeps the one that answers, and has the other when it is asked for."""
    catalogue = board.home / ".config/edgeinfer/models.toml"
    # Entries replace those of the same name, so that no others are left that might fit.
    large = CODERS.format(name="qwen2.5-coder-1.5b", file="large-Q8_0.gguf", layers=500)
    large = large.replace("feed_forward = 512", "feed_forward = 5000000")
    small = CODERS.format(name="qwen2.5-coder-0.5b", file="coder-Q8_0.gguf", layers=6)
    catalogue.write_text(CATALOGUE + large + small)
    code, output, errors = board.install("--code", "--auto-quant", "--dry-run")
    assert 0 == code, errors
    assert "code      qwen2.5-coder-0.5b:Q8_0" in errors
    assert "$ edgeinfer pull qwen2.5-coder-0.5b:Q8_0" in output
    assert f'model = "{NAME}:Q8_0"' in output
    code, output, _ = board.install("--code", "--model", "qwen2.5-coder-0.5b", "--dry-run")
    assert (code, output.count("$ edgeinfer pull")) == (0, 1), "one that completes code needs no other"
    catalogue.write_text(CATALOGUE + large + large.replace("1.5b", "0.5b"))
    code, output, errors = board.install("--code", "--auto-quant", "--dry-run")
    assert 0 == code, errors
    assert "no model for code fits beside it: qwen2.5-coder-0.5b:Q8_0 needs" in errors
    assert "coder" not in output
