"""Detects the operating system, and the container that this process runs in."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgeinfer.hardware.root_files import exists, label, number, output, pairs, read_label, read_text


class System(msgspec.Struct, frozen=True):
    """The operating system.

    Attributes:
        os: "linux" or "darwin".
        name: such as "Debian GNU/Linux 12 (bookworm)".
        machine: "aarch64", "x86_64", "arm64".
        service_manager: "systemd", "launchd".
        container: "docker", "podman", "lxc", "systemd-nspawn", "kubernetes", ...; None outside of one.
        page_size: bytes.
    """

    os: str | None = None
    name: str | None = None
    machine: str | None = None
    service_manager: str | None = None
    container: str | None = None
    page_size: int | None = None


def linux(root: Path) -> System:
    release = pairs(read_text(root / "etc/os-release") or "", "=")
    return System(
        os="linux" if exists(root / "proc/meminfo") else None,
        name=label(release.get("PRETTY_NAME", "").strip("\"'")),
        machine=_machine(root),
        service_manager="systemd" if exists(root / "run/systemd/system") else None,
        container=container(root),
        page_size=number((output(root, "getconf", "getconf", "PAGESIZE") or "").strip()),
    )


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
