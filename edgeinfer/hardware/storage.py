"""The disk that models are kept on."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import msgspec

from edgeinfer.hardware.root_files import entries, exists, number, output, read_text

BLOCK = "sys/class/block"


class Storage(msgspec.Struct, frozen=True):
    """Where models are kept: "nvme", "ssd", "hdd", "sd", "emmc", "usb"; bytes."""

    kind: str | None
    free: int | None


def storage(root: Path, path: str) -> Storage | None:
    """What `path` lies on, or would if it were made. None where nothing is known."""
    if root == Path("/"):
        path = str(_existing(Path(path)))
    free = parse_df(output(root, "df", "df", "-Pk", path) or "")
    kind = next((kind for disk in _disks(root, path) if (kind := _kind(root, disk))), None)
    return Storage(kind, free) if kind or free is not None else None


def _existing(path: Path) -> Path:
    """The nearest directory above that is there, by its true name."""
    path = next((level for level in (path, *path.parents) if exists(level)), Path("/"))
    return Path(os.path.realpath(path))


def parse_df(text: str) -> int | None:
    """Available bytes, from the one line below df -Pk's header: device, kB, used, available, capacity, place."""
    words = text.splitlines()[-1].split() if text.strip() else []
    return number(words[3], 1024) if len(words) >= 6 else None


def _disks(root: Path, path: str) -> list[str]:
    """Names in sys/block of the disks below a file system: of several, as with LVM and RAID, all."""
    found = _device(root, path)
    disks = [entry.name for entry in entries(root / "sys/block")]
    below, seen = [found] if found else [], set()
    while below:
        name = below.pop()
        # A partition's name begins with its disk's: nvme0n1p2, mmcblk0p2, sda1.
        disk = max((disk for disk in disks if name.startswith(disk)), key=len, default=None)
        if disk and disk not in seen:
            seen.add(disk)
            below.extend(entry.name for entry in entries(root / "sys/block" / disk / "slaves"))
    return sorted(seen)


def _device(root: Path, path: str) -> str | None:
    """The name in sys/class/block of the device that `path` lies on."""
    best: tuple[int, str, str] | None = None
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        mounted, how = before.split(), after.split()
        if len(mounted) < 5 or len(how) < 2:
            continue
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal.group(1), 8)), mounted[4])
        # Of several on one place the last mount hides the others.
        if PurePosixPath(path).is_relative_to(place) and (best is None or len(place) >= best[0]):
            best = (len(place), mounted[2], how[1])
    if best is None:
        return None
    _, numbers, source = best
    name = source.rpartition("/")[2]
    # A root may be called /dev/root, a btrfs has numbers of its own, and dm-0 has a name too.
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
        return None  # a virtual disk says it were rotating, whatever it is
    if "/usb" in os.path.realpath(directory).removeprefix(os.path.realpath(root)):
        return "usb"
    return {"0": "ssd", "1": "hdd"}.get(read_text(directory / "queue/rotational") or "")
