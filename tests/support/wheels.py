"""For the tests of wheels: small ones of any name, and pip without the configuration of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    tag: str = "py3-none-any",
    *,
    requires: Sequence[str] = (),
    python: str | None = None,
    script: str | None = None,
    size: int = 0,
) -> Path:
    """Write a wheel with one module, which has `size` more bytes; -> its path."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Python: {python}"] if python else []
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    files = {
        f"{module}.py": f"TAG = {tag!r}\ndef main():\n    print({module!r}, TAG)\n" + "#" * size,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {module}:main\n"
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def pip(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run pip as a fresh machine would: no configuration, cache or questions, and not the indexes of this one."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    own = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "PIP_NO_INPUT": "1", "PIP_RETRIES": "0"}
    return subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments],
        env=inherited | own | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
