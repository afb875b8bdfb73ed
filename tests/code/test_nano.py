"""The assistant with the bundled model, which knows no code: what it writes is valid all the same."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.daemon import edgeinfer
from tests.support.project import IDENTITY, git, inside, project, write

pytestmark = pytest.mark.slow

OLD, NEW = "def total(prices):\n    return -sum(prices)\n", "def total(prices):\n    return sum(prices)\n"
FILES = {"cart.py": OLD, "test_cart.py": "from cart import total\n", "notes.txt": "Mind the gap.\n"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon; its context bounds how much the model can write."""
    with edgeinfer(tmp_path_factory.mktemp("daemon"), "--port", "0", "--ctx", "1536") as process:
        yield process.url()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = project(tmp_path / "shop", FILES)
    write(root, {"cart.py": NEW})
    git(root, "add", ".")
    return root


def code(shop: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command, which has to succeed or to say why it does not."""
    with inside(shop):
        done = run(shop.parent, "code", *arguments, **IDENTITY)
    assert done.returncode == 0 or (
        done.returncode == 1 and re.search("^error: |still fails", done.stderr, re.M)
    )
    assert "Traceback" not in done.stderr
    return done


def apply_shown(folder: Path, text: str) -> None:
    """Apply all diffs that were shown."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if line.startswith(("--- a/", "--- /dev/null"))]
    for start in starts:
        end = next(
            n for n, line in enumerate(lines) if n > start + 1 and line[:1] not in ("@", " ", "+", "-", "\\")
        )
        diff = "\n".join(lines[start:end]) + "\n"
        subprocess.run(["git", "apply", "--whitespace=nowarn"], cwd=folder, input=diff, text=True, check=True)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_a_command_works_with_a_daemon_of_its_own(shop: Path) -> None:
    message = code(shop, "commit", "--print")
    assert message.returncode == 0, message.stderr
    assert 0 < len(message.stdout.split("\n")[0]) <= 72


def test_what_only_reads_changes_nothing(shop: Path, url: str) -> None:
    """What has a schema is valid, or is refused whole."""
    before = contents(shop)
    for arguments in (
        ("ask", "What does total do?", "cart.py"),
        ("review", "--staged"),
        ("complete", "cart.py:2", "--max-tokens", "16"),
        ("fix", "--dry-run", "--what", "rename total to amount", "cart.py"),
    ):
        done = code(shop, *arguments, "--url", url)
        if "--dry-run" not in arguments:
            assert done.returncode == 0, done.stderr
        elif done.returncode == 0:
            assert done.stdout.startswith("--- ")
        assert contents(shop) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("fix", "--run", "grep -q amount cart.py", "--rounds", "2", "cart.py"),
        ("test", "cart.py"),
        ("complete", "cart.py:2", "--insert", "--max-tokens", "16"),
    ],
)
def test_what_is_written_was_shown_and_can_be_taken_back(
    arguments: tuple[str, ...], shop: Path, url: str
) -> None:
    """Also if it is nonsense."""
    before = contents(shop)
    copy = project(shop.parent / "copy", before)
    done = code(shop, *arguments, "--yes", "--url", url)
    apply_shown(copy, done.stderr)
    assert contents(shop) == contents(copy)
    for _ in range(done.stderr.count("\nwrote ")):
        code(shop, "undo")
    assert contents(shop) == before


def test_a_commit_has_the_message_that_was_shown(shop: Path, url: str) -> None:
    done = code(shop, "commit", "--yes", "--url", url)
    assert done.returncode == 0
    message = git(shop, "log", "-1", "--format=%B").strip()
    assert message
    assert message in done.stderr
