"""Detects the disk that models are kept on."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import msgspec

from edgeinfer.hardware.root_files import entries, exists, number, output, read_text

BLOCK = "sys/class/block"


class Storage(msgspec.Struct, frozen=True):
    """A disk: its kind ("nvme", "ssd", "hdd", "sd", "emmc", "usb"), and its free bytes."""

    kind: str | None
    free: int | None


def storage(root: Path, path: str) -> Storage | None:
    """Return the disk of `path`, which need not exist yet; None if nothing is known."""
    if root == Path("/"):
        path = str(_existing(Path(path)))
    free = parse_df(output(root, "df", "df", "-Pk", path) or "")
    kind = next((kind for disk in _disks(root, path) if (kind := _kind(root, disk))), None)
    return Storage(kind, free) if kind or free is not None else None


def _existing(path: Path) -> Path:
    """Return the nearest existing directory above, with links resolved."""
    path = next((level for level in (path, *path.parents) if exists(level)), Path("/"))
    return Path(os.path.realpath(path))


def parse_df(text: str) -> int | None:
    """Return available bytes from the line below df -Pk's header: device, kB, used, available, capacity, mount."""
    words = text.splitlines()[-1].split() if text.strip() else []
    return number(words[3], 1024) if len(words) >= 6 else None


def _disks(root: Path, path: str) -> list[str]:
    """Return the names in /sys/block of the disks of a file system, which are several with LVM and RAID."""
    device = _device(root, path)
    disks = [entry.name for entry in entries(root / "sys/block")]
    below, seen = [device] if device else [], set()
    while below:
        name = below.pop()
        # A partition's name begins with its disk's: nvme0n1p2, mmcblk0p2, sda1.
        disk = max((disk for disk in disks if name.startswith(disk)), key=len, default=None)
        if disk and disk not in seen:
            seen.add(disk)
            below.extend(entry.name for entry in entries(root / "sys/block" / disk / "slaves"))
    return sorted(seen)


def _device(root: Path, path: str) -> str | None:
    """Return the name in /sys/class/block of the device of `path`."""
    best: tuple[int, str, str] | None = None
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        mount, source = before.split(), after.split()
        if len(mount) < 5 or len(source) < 2:
            continue
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), mount[4])
        # The last mount on a directory hides earlier ones.
        if PurePosixPath(path).is_relative_to(place) and (best is None or len(place) >= best[0]):
            best = (len(place), mount[2], source[1])
    if best is None:
        return None
    _, numbers, path_of_device = best
    name = path_of_device.rpartition("/")[2]
    # The device may be called /dev/root; a btrfs has its own numbers; dm-0 has a second name.
    for entry in entries(root / BLOCK):
        if read_text(entry / "dev") == numbers or (name and read_text(entry / "dm/name") == name):
            return entry.name
    return name if name and exists(root / BLOCK / name) else None


def _kind(root: Path, disk: str) -> str | None:
    directory = root / "sys/block" / disk
    if disk.startswith("nvme"):
        return "nvme"
    if disk.startswith("mmcblk"):
        return {"SD": "sd", "MMC": "emmc"}.get(read_text(directory / "device/type") or "")
    if not disk.startswith("sd"):
        return None  # virtual disks always claim to rotate
    if "/usb" in os.path.realpath(directory).removeprefix(os.path.realpath(root)):
        return "usb"
    return {"0": "ssd", "1": "hdd"}.get(read_text(directory / "queue/rotational") or "")
