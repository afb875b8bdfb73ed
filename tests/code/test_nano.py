"""The assistant with the bundled model, which knows no code: what it writes is valid all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.project import git, inside, project, write

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    root = project(tmp_path / "shop", {"cart.py": "def total(prices):\n    return -sum(prices)\n"})
    write(root, {"cart.py": "def total(prices):\n    return sum(prices)\n"})
    git(root, "add", ".")
    return root


def test_every_command_works_with_a_daemon_of_its_own(shop: Path, tmp_path: Path) -> None:
    """What has a schema is valid, or is refused whole; nothing is written without a yes."""
    with inside(shop):
        message = run(tmp_path, "code", "commit", "--print")
        completion = run(tmp_path, "code", "complete", "cart.py:2", "--max-tokens", "16")
        fixed = run(tmp_path, "code", "fix", "--dry-run", "--what", "rename total to amount", "cart.py")
    assert message.returncode == 0, message.stderr
    subject = message.stdout.split("\n")[0]
    assert 0 < len(subject) <= 72
    assert completion.returncode == 0, completion.stderr
    assert fixed.stdout.startswith("--- a/cart.py") or "error:" in fixed.stderr
    assert git(shop, "diff") == ""
