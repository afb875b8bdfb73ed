"""Programs of Debian's packages, downloaded once and extracted, so that nothing is installed on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.systemd_box import download_packages

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeinfer/debian-programs"

PACKAGES = {
    "nginx": ("nginx",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
    "caddy": ("caddy",),
    "prometheus": ("prometheus",),
    "promtool": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager",),
    "amtool": ("prometheus-alertmanager",),
    "logrotate": ("logrotate", "libpopt0"),
}
"""Program -> the packages that have it, and the libraries that it needs."""


def find_program(name: str) -> Path:
    """Return a program's path; it runs with `libraries` in its environment."""
    folder = _folder(name)
    for directory in ("usr/bin", "usr/sbin"):
        if (path := folder / directory / name).exists():
            return path
    raise FileNotFoundError(f"{', '.join(PACKAGES[name])}: no {name} in there")


def command(name: str) -> list[str]:
    """Return the words that run a program which also looks for files of its package in /usr/share."""
    share = _folder(name) / "usr/share"
    laid_over = f"mount -t overlay overlay -o lowerdir={share}:/usr/share /usr/share"
    return ["unshare", "--mount", "sh", "-c", f'{laid_over} && exec "$@"', "sh", str(find_program(name))]


def libraries(name: str) -> dict[str, str]:
    """Return the environment in which a program finds its libraries."""
    folders = sorted({str(path.parent) for path in _folder(name).rglob("*.so*")})
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)}


def _folder(name: str) -> Path:
    release = platform.freedesktop_os_release()
    machine = f"{release['ID']}-{release.get('VERSION_ID', 'unknown')}-{platform.machine()}"
    packages = PACKAGES[name]
    folder = CACHE / machine / packages[0]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            download_packages(Path(temporary), *packages)
            extracted = Path(temporary, "root")
            for package in Path(temporary).glob("*.deb"):
                subprocess.run(["dpkg-deb", "-x", package, extracted], check=True)
            if not folder.exists():  # another test may have been faster
                shutil.move(extracted, folder)
    return folder
