"""scripts/lint misses nothing that is ours."""

from __future__ import annotations

import sys
from typing import Any

from tests.support.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOOLS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
SCRIPTS = [path for path in sorted((ROOT / "scripts").rglob("*")) if path.is_file()]
WITHOUT_SUFFIX = {
    str(path.relative_to(ROOT))
    for path in SCRIPTS
    if not path.suffix and "python" in path.read_text().partition("\n")[0]
}


def test_ruff_checks_python_scripts_without_a_suffix() -> None:
    """It finds only what ends in .py by itself."""
    assert set(TOOLS["ruff"]["extend-include"]) == WITHOUT_SUFFIX


def test_mypy_checks_every_python_script() -> None:
    """It takes the files of a folder that end in .py; others have to be named."""
    files = TOOLS["mypy"]["files"]
    scripts = {str(path.relative_to(ROOT)) for path in SCRIPTS if path.suffix == ".py"} | WITHOUT_SUFFIX
    assert {s for s in scripts if not any(s == file or s.startswith(f"{file}/") for file in files)} == set()


def test_clang_format_checks_every_file_of_the_kernels() -> None:
    """The command names their endings."""
    endings = {path.suffix for path in SCRIPTS if path.parent.parent.name == "llama"} - {".cmake"}
    assert endings == {".cpp", ".h"}
    assert (
        "--dry-run --Werror scripts/llama/*.c scripts/llama/*/*.cpp scripts/llama/*/*.h"
        in (ROOT / "scripts" / "lint").read_text()
    )
