"""Facts detected on each recorded machine, see tests/hardware/trees/README.md."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeinfer.hardware import CpuClass, Gpu, HardwareProfile, Storage, System, describe, detect
from tests.support.paths import TREES

NAMES = sorted(path.name for path in TREES.iterdir() if path.is_dir())

ARMV8_0 = ("neon",)
ARMV8_2 = ("neon", "dotprod", "fp16")
APPLE_M2 = ("neon", "dotprod", "fp16", "i8mm", "bf16")
AVX2 = ("avx", "avx2", "fma", "f16c")

GB = 1024**3


def seen(name: str) -> HardwareProfile:
    return detect(TREES / name)


def shape(cores: CpuClass) -> tuple[str | None, list[int], int | None]:
    return cores.name, sorted(cores.cpus), cores.max_mhz


RK3588 = [("Cortex-A76", [4, 5, 6, 7], 2400), ("Cortex-A55", [0, 1, 2, 3], 1800)]


@pytest.mark.parametrize(
    ("name", "classes", "isa"),
    [
        ("pi4-2gb", [("Cortex-A72", [0, 1, 2, 3], 1800)], ARMV8_0),
        ("pi4-4gb", [("Cortex-A72", [0, 1, 2, 3], 1800)], ARMV8_0),
        ("pi5-4gb", [("Cortex-A76", [0, 1, 2, 3], 2400)], ARMV8_2),
        ("pi5-8gb", [("Cortex-A76", [0, 1, 2, 3], 2400)], ARMV8_2),
        ("pi-zero-2", [("Cortex-A53", [0, 1, 2, 3], 1000)], ARMV8_0),
        ("rock-5b-16gb", RK3588, ARMV8_2),
        ("orange-pi-5-8gb", [("Cortex-A76", [4, 5, 6, 7], 2304), RK3588[1]], ARMV8_2),
        ("orange-pi-5-mainline-8gb", RK3588, ARMV8_2),
        ("rk3566-4gb", [("Cortex-A55", [0, 1, 2, 3], 1800)], ARMV8_2),
        ("jetson-orin-nano-8gb", [("Cortex-A78AE", [0, 1, 2, 3, 4, 5], 1728)], ARMV8_2),
        ("rtx-3060-desktop", [(None, [0, 1, 2, 3, 4, 5], 4650)], AVX2),
        ("rtx-3060-laptop-6gb", [(None, list(range(8)), 4600)], (*AVX2, "avx512", "vnni")),
        (
            "intel-hybrid-laptop",
            [("P-core", [0, 2, 4, 6], 4700), ("E-core", list(range(8, 16)), 3400)],
            (*AVX2, "avx-vnni"),
        ),
        ("ryzen-laptop", [(None, list(range(0, 16, 2)), 5132)], (*AVX2, "avx512", "vnni", "bf16")),
        ("amd-gpu-desktop", [(None, list(range(8)), 4850)], AVX2),
        ("n100-mini-pc", [(None, [0, 1, 2, 3], 3400)], (*AVX2, "avx-vnni")),
        (
            "amx-server",
            [(None, [0, 1, 2, 3], None)],
            (*AVX2, "avx512", "vnni", "avx-vnni", "bf16", "amx"),
        ),
        ("container-2cpu-2gb", [(None, [0, 2, 4, 6], None)], (*AVX2, "avx512")),
        ("docker-cgroup1-j4125-2gb", [(None, [0, 1, 2, 3], 2700)], ()),
        ("docker-pi4-4gb", [("Cortex-A72", [0, 1, 2, 3], 1800)], ARMV8_0),
        ("incus-lxc-cfs-4of16", [(None, [2, 5, 9, 12], 4546)], AVX2),
        ("jetson-nano-4gb", [("Cortex-A57", [0, 1, 2, 3], 1479)], ARMV8_0),
        ("orangepi-zero3-4gb", [("Cortex-A53", [0, 1, 2, 3], 1512)], ARMV8_0),
        ("rtx-2060-6gb", [(None, [0, 1, 2, 3, 4, 5], 4208)], AVX2),
        ("rtx-3090-24gb", [(None, [0, 1, 2, 3, 4, 5], 4650)], AVX2),
        ("two-rtx-3090", [(None, [0, 1, 2, 3, 4, 5], 4650)], AVX2),
        (
            "rtx-4070-laptop-8gb",
            [("P-core", [0, 2, 4, 6, 8, 10], 5400), ("E-core", list(range(12, 20)), 4100)],
            (*AVX2, "avx-vnni"),
        ),
        ("strix-halo-128gb", [(None, list(range(16)), 5187)], (*AVX2, "avx512", "vnni", "avx-vnni", "bf16")),
        (
            "m2-mac-16gb",
            [("Apple M2 performance", [0, 1, 2, 3], None), ("Apple M2 efficiency", [4, 5, 6, 7], None)],
            APPLE_M2,
        ),
        (
            "a18-pro-macbook-8gb",
            [("Apple A18 Pro performance", [0, 1], None), ("Apple A18 Pro efficiency", [2, 3, 4, 5], None)],
            APPLE_M2,
        ),
    ],
)
def test_cores_are_told_apart(name: str, classes: list[object], isa: tuple[str, ...]) -> None:
    """There is one logical CPU for each core, the fastest class first, with its instruction sets."""
    cpus = seen(name).cpus
    assert (classes, isa) == ([shape(cores) for cores in cpus], cpus[0].isa)


def test_every_tree_is_in_the_table() -> None:
    """A new tree must be added to the table."""
    marks = test_cores_are_told_apart.pytestmark  # type: ignore[attr-defined]
    assert sorted(case[0] for case in marks[0].args[1]) == NAMES


@pytest.mark.parametrize(
    ("name", "total", "available", "limit"),
    [
        ("pi4-2gb", 1892580 * 1024, 1561204 * 1024, None),
        ("pi5-8gb", 8255488 * 1024, 7493824 * 1024, None),
        ("container-2cpu-2gb", 32880004 * 1024, 2 * GB - 46 * 1024**2, 2 * GB),
        ("m2-mac-16gb", 16 * GB, (300000 + 16384 + 262144) * 16384, None),
    ],
)
def test_memory_is_what_can_be_had(name: str, total: int, available: int, limit: int | None) -> None:
    """A container's page cache counts as free, and so do a Mac's inactive pages."""
    memory = seen(name).memory
    assert (total, available, limit) == (memory.total, memory.available, memory.limit)


@pytest.mark.parametrize(
    ("name", "swap"),
    [("pi4-2gb", 524284 * 1024), ("amx-server", 0), ("container-2cpu-2gb", 0), ("m2-mac-16gb", None)],
)
def test_swap_is_told(name: str, swap: int | None) -> None:
    """A Mac creates swap as needed, so there is no figure."""
    assert swap == seen(name).memory.swap


def test_a_container_has_its_share_of_the_time() -> None:
    """The quota counts, not the number of CPUs it sees."""
    assert 2.0 == seen("container-2cpu-2gb").cpu_quota


@pytest.mark.parametrize(
    ("name", "gpus"),
    [
        ("pi4-4gb", [Gpu("broadcom", "VideoCore VI", shared=True)]),
        ("pi5-8gb", [Gpu("broadcom", "VideoCore VII", shared=True)]),
        ("pi-zero-2", [Gpu("broadcom", "VideoCore IV", shared=True)]),
        ("orange-pi-5-8gb", [Gpu("arm", "Mali-G610", shared=True)]),
        ("rk3566-4gb", [Gpu("arm", "Mali-G52", shared=True)]),
        (
            "jetson-orin-nano-8gb",
            [Gpu("nvidia", "Orin", "cuda", 7802904 * 1024, 6 * GB, True, "8.7", "36.4.3")],
        ),
        (
            "rtx-3060-desktop",
            [
                Gpu(
                    "nvidia",
                    "NVIDIA GeForce RTX 3060",
                    "cuda",
                    12 * GB,
                    11673 * 1024**2,
                    False,
                    "8.6",
                    "535.183.01",
                )
            ],
        ),
        (
            "amd-gpu-desktop",
            [
                Gpu(
                    "amd",
                    "AMD Radeon RX 6700 XT",
                    "vulkan",
                    12272 * 1024**2,
                    11570 * 1024**2,
                    driver="amdgpu",
                )
            ],
        ),
        ("amx-server", []),
        ("container-2cpu-2gb", []),
        (
            "m2-mac-16gb",
            [Gpu("apple", "Apple M2", "metal", 11453246122, 9478602752, True, driver="Metal")],
        ),
        (
            "a18-pro-macbook-8gb",
            [Gpu("apple", "Apple A18 Pro", "metal", 5726623061, 4083941376, True, driver="Metal")],
        ),
    ],
)
def test_gpus_are_found(name: str, gpus: list[Gpu]) -> None:
    """Their memory and API are known."""
    assert gpus == list(seen(name).gpus)


def test_a_laptop_has_two_gpus() -> None:
    """The card comes first, then the GPU in the processor that shares the RAM."""
    first, second = seen("rtx-3060-laptop-6gb").gpus
    assert ("NVIDIA GeForce RTX 3060 Laptop GPU", 6 * GB, False) == (first.name, first.memory, first.shared)
    assert ("intel", "vulkan", True, "i915") == (second.vendor, second.api, second.shared, second.driver)


def test_a_processor_of_amd_lends_its_gpu_ram() -> None:
    """The memory is a fixed part of the RAM, and what the driver may borrow."""
    (gpu,) = seen("ryzen-laptop").gpus
    assert ("AMD Radeon (Phoenix)", "vulkan", True) == (gpu.name, gpu.api, gpu.shared)
    assert 4 * GB + 28657892 * 512 == gpu.memory


@pytest.mark.parametrize(
    ("name", "model", "family"),
    [
        ("pi4-2gb", "Raspberry Pi 4 Model B Rev 1.5", "raspberry-pi-4"),
        ("pi5-4gb", "Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5"),
        ("pi-zero-2", "Raspberry Pi Zero 2 W Rev 1.0", "raspberry-pi-zero-2"),
        ("rock-5b-16gb", "Radxa ROCK 5B", "rk3588"),
        ("orange-pi-5-8gb", "Orange Pi 5", "rk3588"),
        ("orange-pi-5-mainline-8gb", "Xunlong Orange Pi 5", "rk3588"),
        ("rk3566-4gb", "Radxa ZERO 3W", "rk3566"),
        (
            "jetson-orin-nano-8gb",
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            "jetson-orin-nano",
        ),
        ("intel-hybrid-laptop", "LENOVO 21CBCTO1WW", None),
        ("amd-gpu-desktop", "ASUSTeK COMPUTER INC. TUF GAMING B550-PLUS", None),
        ("m2-mac-16gb", "Mac14,7", "apple-m2"),
        ("a18-pro-macbook-8gb", "Mac17,5", "apple-a18-pro"),
    ],
)
def test_boards_have_a_family(name: str, model: str, family: str | None) -> None:
    """Their chip determines how fast they are."""
    board = seen(name).board
    assert (model, family) == (board.model, board.family) if board else None


def test_a_container_hides_its_board() -> None:
    """No board is invented."""
    assert seen("container-2cpu-2gb").board is None


@pytest.mark.parametrize(
    ("name", "npu"),
    [
        ("orange-pi-5-8gb", "RKNPU"),
        ("ryzen-laptop", "AMD XDNA"),
        ("m2-mac-16gb", "Apple Neural Engine"),
        ("pi5-8gb", None),
    ],
)
def test_neural_processors_are_named(name: str, npu: str | None) -> None:
    """They need no driver."""
    assert npu == seen(name).npu


@pytest.mark.parametrize(
    ("name", "kind", "free"),
    [
        ("pi4-2gb", "sd", 20_480_000_000),
        ("pi4-4gb", "usb", 184_320_000_000),
        ("pi5-8gb", "nvme", 204_800_000_000),
        ("rk3566-4gb", "emmc", 22_528_000_000),
        ("n100-mini-pc", "ssd", 204_800_000_000),
        ("container-2cpu-2gb", None, 30_720_000_000),
        ("m2-mac-16gb", None, 120586240 * 1024),
    ],
)
def test_storage_is_of_a_kind(name: str, kind: str | None, free: int) -> None:
    """A container's overlay has no kind."""
    assert Storage(kind, free) == seen(name).storage


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("pi5-4gb", System("linux", "Debian GNU/Linux 13 (trixie)", "aarch64", "systemd", None, 16384)),
        ("n100-mini-pc", System("linux", "Debian GNU/Linux 12 (bookworm)", "x86_64", "systemd", None, 4096)),
        (
            "container-2cpu-2gb",
            System("linux", "Debian GNU/Linux 12 (bookworm)", "x86_64", None, "docker", 4096),
        ),
        ("a18-pro-macbook-8gb", System("darwin", "macOS 26.3", "arm64", "launchd", None, 16384)),
    ],
)
def test_systems_are_known(name: str, system: System) -> None:
    """Their name, service manager, container and page size are known."""
    assert system == seen(name).system


@pytest.mark.parametrize("name", NAMES)
def test_a_tree_needs_nothing_but_itself(name: str) -> None:
    """No fact of the machine that runs the test gets in, and the profile fits into JSON."""
    profile = seen(name)
    assert profile.llama is None
    assert profile == msgspec.json.decode(msgspec.json.encode(profile), type=HardwareProfile)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def copy(name: str, root: Path) -> Path:
    for path in files(TREES / name):
        target = root / path.relative_to(TREES / name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return root


def sane(root: Path) -> HardwareProfile:
    """A profile that was detected, and can be described and sent."""
    profile = detect(root)
    assert all(text.isprintable() and len(text) < 2000 for pair in describe(profile) for text in pair)
    assert msgspec.json.encode(profile)
    return profile


HOSTILE = {
    "empty": b"",
    "binary": bytes(range(256)) * 16,
    "zeros": b"\0" * 4096,
    "huge numbers": b"9" * 5000,
    "64 bits": b"18446744073709551615",
    "negative": b"-1",
    "other digits": "\u00b2\u0663".encode(),
    "terminal": b"\x1b]0;owned\x07\x1b[2J",
    "colons": b":::::\n : : \n=\n = \n,,,\n",
    "long line": b"a " * 100_000,
    "deep path": b"0::" + b"/a" * 100_000,
    "many ranges": b"0-8191," * 20_000,
}


@pytest.mark.parametrize(
    "name", ["orange-pi-5-8gb", "rtx-3060-laptop-6gb", "container-2cpu-2gb", "a18-pro-macbook-8gb"]
)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_in_a_tree_can_break_detection(text: bytes, name: str, tmp_path: Path) -> None:
    """Every file is replaced by the same garbage."""
    for path in files(copy(name, tmp_path)):
        path.write_bytes(text)
    sane(tmp_path)


@pytest.mark.parametrize("kind", ["directory", "pipe", "loop", "dangling", "device"])
@pytest.mark.parametrize("name", ["rock-5b-16gb", "rtx-3060-laptop-6gb", "m2-mac-16gb"])
def test_what_is_no_file_is_not_read(kind: str, name: str, tmp_path: Path) -> None:
    """A pipe would block forever, and /dev/zero never end."""
    for path in files(copy(name, tmp_path)):
        path.unlink()
        if kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to({"loop": str(path), "dangling": "/nowhere/at/all", "device": "/dev/zero"}[kind])
    profile = sane(tmp_path)
    assert [] == [cpu for cores in profile.cpus for cpu in cores.cpus]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_in_any_file_are_survived(tmp_path: Path, data: st.DataObject) -> None:
    """One file of a tree is cut, replaced, or has bytes inserted."""
    name = data.draw(st.sampled_from(["pi5-4gb", "jetson-orin-nano-8gb", "amd-gpu-desktop", "m2-mac-16gb"]))
    root = tmp_path / name
    if not root.exists():
        copy(name, root)
    path = data.draw(st.sampled_from(files(root)))
    was = path.read_bytes()
    cut = data.draw(st.integers(0, len(was)))
    path.write_bytes(
        was[:cut] + data.draw(st.binary(max_size=100)) + data.draw(st.sampled_from([b"", was[cut:]]))
    )
    try:
        sane(root)
    finally:
        path.write_bytes(was)
