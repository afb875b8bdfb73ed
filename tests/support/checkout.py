"""For the tests of scripts/setup: a checkout to set up, where a Python of our own stands for pip and venv.

It writes down what it is asked for, and builds and installs nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

PYTHON = f"""#!/bin/bash
case "$*" in
"-m venv"*) target=${{@: -1}}; mkdir -p "$target/bin"; cp "$0" "$target/bin/python" ;;
*"-m pip wheel"*)
  echo "build $CMAKE_ARGS" >>"$CALLS"
  if [[ $CMAKE_ARGS == *GGML_CUDA=ON* ]]; then echo "$FAILURE" >&2; exit 1; fi
  while [ "$1" != --wheel-dir ]; do shift; done
  touch "$2/llama.whl" ;;
*"-m pip install"*) echo "$*" >>"$CALLS" ;;
*.whl/pip*) echo "${{*##*/pip-}}" >>"$CALLS" ;;
*"import pip"*) ;;
*"platform_notes.py")
  code="import runpy, sys; sys.maxsize = min(sys.maxsize, ${{MAXSIZE:-sys.maxsize}})"
  exec {sys.executable} -c "$code; runpy.run_path('$2', run_name='__main__')" ;;
*"import ensurepip"*) exit "${{WITHOUT_PIP:-0}}" ;;
*) exec {sys.executable} "$@" ;;
esac
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make_checkout(folder: Path) -> Path:
    """Copy as much of the repository as the script reads, and put a Python beside it; -> the checkout."""
    root = folder / "checkout"
    package = ("edgeinfer/__init__.py", "edgeinfer/plan/platform_notes.py")
    for name in ("scripts/setup", "scripts/build-wheel", "pyproject.toml", *package):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in ("scripts/common", "scripts/llama", "requirements"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    program(folder / "bin/python", PYTHON)
    return root


def setup(
    checkout: Path, *arguments: str | Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run the script; -> what it printed, and what it asked Python for."""
    top = checkout.parent
    calls = top / "calls"
    calls.write_text("")
    done = subprocess.run(
        [checkout / "scripts/setup", *arguments],
        env={
            "PATH": f"{top / 'bin'}:{os.environ['PATH']}",
            "HOME": str(top),
            "XDG_CACHE_HOME": str(top / "cache"),
            "PYTHON": str(top / "bin/python"),
            "CALLS": str(calls),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done, calls.read_text().splitlines()
