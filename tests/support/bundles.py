"""For the tests of bundles: small ones, whose edgeinfer is a stand-in that writes down what it is asked for."""

from __future__ import annotations

import ensurepip
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

INSTALLER = ROOT / "scripts/offline/installer"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

STAND_IN = """
import json, os, pathlib, sys
VERSION = {version!r}

def main():
    arguments = sys.argv[1:]
    if os.environ.get("FAILS") and os.environ["FAILS"] in arguments:
        sys.exit("it fails as it was told to")
    with open(os.environ["CALLS"], "a") as calls:
        print(VERSION, *arguments, file=calls)
    if arguments[:2] == ["service", "status"]:
        print(json.dumps({{"installed": "UNIT" in os.environ, "scope": "system"}}))
    if arguments[:2] == ["service", "install"]:
        unit = pathlib.Path(os.environ["UNIT"])
        text = f"ExecStart={{sys.prefix}}/bin/edgeinfer"
        if "--dry-run" in arguments:
            print(json.dumps({{"files": [{{"path": str(unit), "new": unit.read_text() != text}}]}}))
        else:
            unit.write_text(text)
"""


def make_bundle(folder: Path, version: str = "1.0", *, models: int = 0, **changes: Any) -> Path:
    """Write a bundle as scripts/bundle packs it; `changes` replace parts of its description."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    bundled = Path(ensurepip.__file__).parent / "_bundled"
    pip = shutil.copy(next(bundled.glob("pip-*.whl")), wheels)
    names = [_stand_in(wheels, version).name, Path(pip).name]
    shutil.copytree(INSTALLER, folder / "installer", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "installer/install").rename(folder / "install")
    (folder / "installer/pythons").write_text(f"{PYTHON}\n")
    description = {
        "version": version,
        "machine": platform.machine(),
        "glibc": [2, 17],
        "pythons": {PYTHON: {"wheels": names, "unpacked": 20_000_000}},
        "models": [{"name": f"m{i}", "quant": "Q4_0", "size": 1, "sha256": "0"} for i in range(models)],
    }
    (folder / "bundle.json").write_text(json.dumps(description | changes))
    sums = "".join(f"{hashlib.sha256((wheels / n).read_bytes()).hexdigest()}  wheels/{n}\n" for n in names)
    contents = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    (folder / "SHA256SUMS").write_text(f"{contents}  bundle.json\n{sums}")
    return folder


def _stand_in(folder: Path, version: str) -> Path:
    info = f"edgeinfer-{version}.dist-info"
    files = {
        "edgeinfer/__init__.py": STAND_IN.format(version=version),
        "edgeinfer/backends/__init__.py": "",
        "edgeinfer/backends/llama_cpp/__init__.py": "",
        "edgeinfer/backends/llama_cpp/binding/__init__.py": "",
        "edgeinfer/backends/llama_cpp/binding/build.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: edgeinfer\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nedgeinfer = edgeinfer:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    path = folder / f"edgeinfer-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def install(
    bundle: Path, home: Path, *arguments: str | Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a bundle's installer for a user with this home; `home/calls` has what edgeinfer is asked for."""
    home.mkdir(exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EDGEINFER_", "XDG_"))}
    own = {
        "HOME": str(home),
        "CALLS": str(home / "calls"),
        "EDGEINFER_STORE": str(home / "store"),
        "PYTHON": sys.executable,
    }
    return subprocess.run(
        [bundle / "install", *arguments],
        env=inherited | own | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def built_llama() -> Path:
    """Return the llama.cpp that scripts/setup has built for this machine."""
    key = (ROOT / ".venv/.setup-stamp").read_text().splitlines()[2]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return next((cache / "edgeinfer/wheels" / key).glob("*.whl"))
