"""The devices of the GPU that the plan uses, and what else its driver needs."""

from __future__ import annotations

import grp
import os
from collections.abc import Collection
from pathlib import Path

import msgspec


class HostDevices(msgspec.Struct, frozen=True):
    """What else of this machine a unit depends on.

    Attributes:
        systemd: its version.
        nodes: devices of graphics processors that are there now.
        groups: those of the groups that own such devices which exist here.
        nvidia_modprobe: the command that makes NVIDIA's device nodes.
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
"""Device nodes by vendor, below /dev, beside those of the kernel's graphics drivers in dri."""

GROUPS = ("render", "video")


def this_host(systemd: int | None, root: Path = Path("/")) -> HostDevices:
    """The machine this runs on."""
    patterns = [pattern for found in PATTERNS.values() for pattern in found]
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
    """For [Unit]: NVIDIA's kernel modules are loaded when somebody asks for them."""
    if "nvidia" not in gpus:
        return []
    wanted = "modprobe@nvidia.service modprobe@nvidia_uvm.service nvidia-persistenced.service"
    return [f"Wants={wanted}", f"After={wanted}"]


def driver_lines(gpus: Collection[str]) -> list[str]:
    """For [Service]: drivers compile their kernels when they know the card, and place memory by CPU."""
    return ["MemoryDenyWriteExecute=no", "SystemCallFilter=@resources"] if gpus else []


def device_lines(gpus: Collection[str], host: HostDevices) -> list[str]:
    """For a system's [Service]: these devices and no others."""
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
    start, many, _ = pattern.partition("/**")
    return path.parts[0] == start if many else path.match(pattern)
