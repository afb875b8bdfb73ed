"""Bubblewrap, downloaded where the machine has none: a test that does without it shows nothing."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgeinfer.user_folders import cache_folder
from tests.support.systemd_box import download_packages


def bubblewrap() -> Path:
    """The folder with bwrap in it. Raises BoxError where it cannot be had."""
    if installed := shutil.which("bwrap"):
        return Path(installed).parent
    release = platform.freedesktop_os_release()
    folder = (
        cache_folder() / "bubblewrap" / f"{release['ID']}-{release.get('VERSION_ID')}-{platform.machine()}"
    )
    if not (folder / "usr/bin/bwrap").exists():
        with tempfile.TemporaryDirectory() as temporary:
            download_packages(Path(temporary), "bubblewrap")
            (package,) = Path(temporary).glob("*.deb")
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder / "usr/bin"
