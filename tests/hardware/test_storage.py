"""Detection of the disk of the models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.hardware import Storage, detect
from edgeinfer.hardware.storage import parse_df, storage
from tests.support.hardware import write


def mounts(*lines: str) -> dict[str, str]:
    """Lines of mountinfo, written as "8:1 /place ext4 /dev/sda1"."""
    words = [line.split() for line in lines]
    text = "".join(f"{i} 1 {w[0]} / {w[1]} rw shared:1 - {w[2]} {w[3]} rw\n" for i, w in enumerate(words))
    return {"proc/self/mountinfo": text}


def partition(name: str, numbers: str) -> dict[str, str]:
    return {f"sys/class/block/{name}/dev": f"{numbers}\n"}


def disk(name: str, rotational: int = 0, **files: str) -> dict[str, str]:
    return {f"sys/block/{name}/queue/rotational": f"{rotational}\n"} | {
        f"sys/block/{name}/{file.replace('__', '/')}": text for file, text in files.items()
    }


SDA = partition("sda1", "8:1") | disk("sda", 1)
NVME = partition("nvme0n1p2", "259:2") | disk("nvme0n1")


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (mounts("8:1 / ext4 /dev/sda1") | SDA, "hdd"),
        (mounts("8:1 / ext4 /dev/sda1") | partition("sda1", "8:1") | disk("sda"), "ssd"),
        (mounts("259:2 / ext4 /dev/nvme0n1p2") | NVME, "nvme"),
        (
            mounts("179:2 / ext4 /dev/root")
            | partition("mmcblk0p2", "179:2")
            | disk("mmcblk0", device__type="SD"),
            "sd",
        ),
        (
            mounts("179:2 / ext4 /dev/mmcblk0p2")
            | partition("mmcblk0p2", "179:2")
            | disk("mmcblk0", device__type="MMC")
            | disk("mmcblk0boot0", device__type="MMC"),
            "emmc",
        ),
        (mounts("0:29 / btrfs /dev/nvme0n1p2") | NVME, "nvme"),
        (
            mounts("253:0 / ext4 /dev/mapper/vg-root")
            | partition("dm-0", "253:0")
            | disk("dm-0")
            | {"sys/block/dm-0/slaves/dm-1/dev": "253:1"}
            | disk("dm-1")
            | {"sys/block/dm-1/slaves/nvme0n1p2/dev": "259:2"}
            | NVME,
            "nvme",
        ),
        (
            mounts("0:31 / btrfs /dev/mapper/luks-1")
            | partition("dm-0", "253:0")
            | {"sys/class/block/dm-0/dm/name": "luks-1\n"}
            | disk("dm-0")
            | {"sys/block/dm-0/slaves/sda1/dev": "8:1"}
            | SDA,
            "hdd",
        ),
        (mounts("253:0 / ext4 /dev/dm-0") | disk("dm-0") | {"sys/block/dm-0/slaves/dm-0/dev": "253:0"}, None),
        (mounts("254:1 / ext4 /dev/vda1") | partition("vda1", "254:1") | disk("vda", 1), None),
        (mounts("0:54 / overlay overlay") | SDA, None),
        (mounts("0:30 / zfs rpool/root"), None),
        ({"proc/self/mountinfo": "garbage\n - \n1 2 3 4 / - x\n"}, None),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_the_disk_below_a_file_system_is_found(
    files: dict[str, str], kind: str | None, tmp_path: Path
) -> None:
    """It is found through partitions, LVM and encryption, and by any name of the device."""
    model_storage = storage(write(tmp_path, files), "/var/lib/edgeinfer")
    assert kind == (model_storage.kind if model_storage else None)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/home/me", "nvme"), ("/mnt/my disk/models", "hdd"), ("/mnt/my", "nvme"), ("/data/x", "hdd")],
)
def test_the_nearest_mount_counts(path: str, kind: str, tmp_path: Path) -> None:
    """Blanks are written in octal, and a later mount hides an earlier one."""
    lines = mounts(
        "259:2 / ext4 /dev/nvme0n1p2",
        "8:1 /mnt/my\\040disk ext4 /dev/sda1",
        "259:2 /data ext4 /dev/nvme0n1p2",
        "8:1 /data ext4 /dev/sda1",
    )
    assert Storage(kind, None) == storage(write(tmp_path, lines | SDA | NVME), path)


def test_this_machine_has_room(tmp_path: Path) -> None:
    """Free space agrees with Python's, also for a folder that does not exist yet."""
    model_storage = detect(models=tmp_path / "not" / "yet").storage
    free = shutil.disk_usage(tmp_path).free
    assert model_storage
    assert model_storage.free == pytest.approx(free, abs=2**30)


@given(st.text(max_size=200))
def test_any_text_of_df_is_survived(text: str) -> None:
    """The result is a number of bytes, or None."""
    assert parse_df(text) is None or parse_df(text) >= 0  # type: ignore[operator]
