"""Gives the service access to the GPU that the plan uses, and to what its driver needs."""

from __future__ import annotations

import grp
import os
from collections.abc import Collection
from pathlib import Path

import msgspec


class HostDevices(msgspec.Struct, frozen=True):
    """Facts of this machine that a unit depends on.

    Attributes:
        systemd: version of systemd.
        nodes: device nodes of GPUs that exist now.
        groups: existing groups that own such devices.
        nvidia_modprobe: the command that creates NVIDIA's device nodes.
    """

    systemd: int | None = None
    nodes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    nvidia_modprobe: str | None = None


PATTERNS = {
    "nvidia": ("nvidia*", "nvmap", "nvhost-*", "nvgpu/**/*"),  # the last three on Jetson
    "amd": ("kfd",),
    "arm": ("mali*",),
}
"""Vendor -> device nodes below /dev, in addition to those of the kernel's graphics drivers in /dev/dri."""

GROUPS = ("render", "video")


def this_host(systemd: int | None, root: Path = Path("/")) -> HostDevices:
    """Return the facts of this machine."""
    patterns = [pattern for vendor in PATTERNS.values() for pattern in vendor]
    nodes = {path for pattern in patterns for path in (root / "dev").glob(pattern) if not path.is_dir()}
    modprobe = root / "usr/bin/nvidia-modprobe"
    return HostDevices(
        systemd,
        tuple(sorted("/" + str(node.relative_to(root)) for node in nodes)),
        tuple(name for name in GROUPS if _is_group(name)),
        str(modprobe) if os.access(modprobe, os.X_OK) else None,
    )


def _is_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def unit_lines(gpus: Collection[str]) -> list[str]:
    """Return lines for [Unit] that have NVIDIA's kernel modules loaded."""
    if "nvidia" not in gpus:
        return []
    units = "modprobe@nvidia.service modprobe@nvidia_uvm.service nvidia-persistenced.service"
    return [f"Wants={units}", f"After={units}"]


def driver_lines(gpus: Collection[str]) -> list[str]:
    """Return lines for [Service]: drivers compile kernels at run time, and bind memory to CPUs."""
    return ["MemoryDenyWriteExecute=no", "SystemCallFilter=@resources"] if gpus else []


def device_lines(gpus: Collection[str], host: HostDevices) -> list[str]:
    """Return lines for [Service] of the system's unit that allow these devices and no others."""
    if not gpus:
        return []
    own = [node for node in host.nodes if any(_matches(node, vendor) for vendor in gpus)]
    allowed = [*(["char-nvidia*"] if "nvidia" in gpus else []), "char-drm", *own]
    lines = [
        "PrivateDevices=no",
        "DevicePolicy=closed",
        *(f"DeviceAllow={name} rw" for name in allowed),
    ]
    if host.groups:
        lines.append(f"SupplementaryGroups={' '.join(host.groups)}")
    if "nvidia" in gpus and host.nvidia_modprobe:
        lines.append(f"ExecStartPre=-+{host.nvidia_modprobe} -c=0 -u")
    return lines


def _matches(node: str, vendor: str) -> bool:
    relative = Path(node).relative_to("/dev")
    return any(_like(relative, pattern) for pattern in PATTERNS.get(vendor, ()))


def _like(path: Path, pattern: str) -> bool:
    folder, recursive, _ = pattern.partition("/**")
    return path.parts[0] == folder if recursive else path.match(pattern)
