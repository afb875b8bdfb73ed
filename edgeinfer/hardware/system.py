"""Detects the operating system, and the container that this process runs in."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import msgspec

from edgeinfer.hardware.root_files import entries, exists, label, number, output, pairs, read_label, read_text


class System(msgspec.Struct, frozen=True):
    """The operating system.

    Attributes:
        os: "linux" or "darwin".
        name: such as "Debian GNU/Linux 12 (bookworm)".
        machine: "aarch64", "x86_64", "arm64".
        service_manager: "systemd", "launchd".
        container: "docker", "podman", "lxc", "systemd-nspawn", "kubernetes", ...; None outside of one.
        page_size: bytes.
        is_32_bit: its programs are, even if the kernel is not.
        is_musl: its C library is musl, as on Alpine.
        glibc: version of its C library, such as "2.36"; None if that is another one, or unknown.
    """

    os: str | None = None
    name: str | None = None
    machine: str | None = None
    service_manager: str | None = None
    container: str | None = None
    page_size: int | None = None
    is_32_bit: bool = False
    is_musl: bool = False
    glibc: str | None = None


def linux(root: Path) -> System:
    release = pairs(read_text(root / "etc/os-release") or "", "=")
    return System(
        os="linux" if exists(root / "proc/meminfo") else None,
        name=label(release.get("PRETTY_NAME", "").strip("\"'")),
        machine=_machine(root),
        service_manager="systemd" if exists(root / "run/systemd/system") else None,
        container=container(root),
        page_size=number((output(root, "getconf", "getconf", "PAGESIZE") or "").strip()),
        is_32_bit=_is_32_bit(root, _names(release)),
        is_musl=_is_musl(root, _names(release)),
        glibc=_glibc(root),
    )


MACHINES_32_BIT = re.compile(r"armv[5-8]l|i[3-6]86", re.ASCII)

MUSL_SYSTEMS = frozenset(("alpine", "postmarketos", "openwrt", "chimera"))


def _names(release: dict[str, str]) -> frozenset[str]:
    """Return the words that a distribution calls itself by, in lower case."""
    text = " ".join(release.get(key, "") for key in ("ID", "ID_LIKE", "PRETTY_NAME"))
    return frozenset(re.findall(r"[a-z]+", text.lower()))


def _is_32_bit(root: Path, names: frozenset[str]) -> bool:
    """Tell whether the programs are 32-bit. Raspberry Pi OS may have them above a 64-bit kernel."""
    if root == Path("/"):
        return sys.maxsize < 2**32
    loaders = _loaders(root)
    wide = any(re.search(r"64|s390x", loader) for loader in loaders)
    return bool(
        "raspbian" in names or (loaders and not wide) or MACHINES_32_BIT.fullmatch(_machine(root) or "")
    )


def _is_musl(root: Path, names: frozenset[str]) -> bool:
    loaders = _loaders(root)
    if loaders:
        return all(loader.startswith("ld-musl-") for loader in loaders)
    return not MUSL_SYSTEMS.isdisjoint(names)


def _glibc(root: Path) -> str | None:
    """Return the version of glibc. The name of its file had it until 2.33."""
    if root == Path("/"):
        name, version = platform.libc_ver()
        return version if name == "glibc" else None
    folders = [root / "lib", *(entry for entry in entries(root / "lib") if entry.name.endswith("-linux-gnu"))]
    files = [
        re.fullmatch(r"libc-(2\.\d+)\.so", entry.name) for folder in folders for entry in entries(folder)
    ]
    return next((file[1] for file in files if file), None)


def _loaders(root: Path) -> list[str]:
    """Return the names of the dynamic loaders, such as ld-linux-aarch64.so.1 and ld-musl-x86_64.so.1."""
    names = [entry.name for folder in ("lib", "lib64") for entry in entries(root / folder)]
    return [name for name in names if re.match(r"ld-(linux|musl)-?.*\.so", name)]


def mac(root: Path, facts: dict[str, str]) -> System:
    version = label(facts.get("kern.osproductversion"))
    return System(
        os="darwin",
        name=f"macOS {version}" if version else "macOS",
        machine=_machine(root),
        service_manager="launchd",
        page_size=number(facts.get("hw.pagesize")),
    )


def _machine(root: Path) -> str | None:
    return label(output(root, "uname", "uname", "-m"))


def container(root: Path) -> str | None:
    """Return the kind of container; None outside of one."""
    if exists(root / "var/run/secrets/kubernetes.io"):
        return "kubernetes"
    if exists(root / ".dockerenv"):
        return "docker"
    if exists(root / "run/.containerenv"):
        return "podman"
    if kind := read_label(root / "run/systemd/container"):
        return kind
    environment = (read_text(root / "proc/1/environ") or "").split("\0")  # only root may read it
    return next((label(line[10:]) for line in environment if line.startswith("container=")), None)
