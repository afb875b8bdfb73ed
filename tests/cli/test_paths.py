"""Paths that begin with the home of a user who does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import run

NOBODY = "~nosuch/x.gguf"


@pytest.mark.parametrize(
    "arguments", [("install", "--model", NOBODY, "--dry-run"), ("models", "import", NOBODY)]
)
def test_the_home_of_nobody_is_refused_by_name(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {NOBODY}: there is no user 'nosuch'\nhint: for a file or folder of that name: ./{NOBODY}\n",
    )


def test_a_store_in_the_home_of_nobody_is_not_made_elsewhere(tmp_path: Path) -> None:
    """Where the setting has it; folders of other programs there are just not there."""
    done = run(tmp_path, "models", EDGEINFER_STORE="~nosuch/store")
    assert (done.returncode, "there is no user 'nosuch'" in done.stderr) == (1, True)
    others = dict.fromkeys(("HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS"), "~nosuch/x")
    done = run(tmp_path, "models", "import", **others)
    assert "Traceback" not in done.stderr
    assert "there are no models of Hugging Face" in done.stdout + done.stderr
