"""What GPUs are doing: of recorded machines, and of drivers that tell nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.hardware.gpu_use import GpuUse, gpu_uses, parse_query
from tests.support.hardware import pci, write
from tests.support.paths import TREES

MIB = 1024**2


def test_a_card_of_nvidia_tells_everything() -> None:
    assert gpu_uses(TREES / "rtx-3060-desktop") == [
        GpuUse("nvidia0", "NVIDIA GeForce RTX 3060", 12288 * MIB, 615 * MIB, 0.61, 57, 112.43)
    ]


def test_a_jetson_tells_its_load_and_shares_the_ram(tmp_path: Path) -> None:
    [gpu] = gpu_uses(TREES / "jetson-orin-nano-8gb")
    assert (gpu.gpu, gpu.busy) == ("nvidia0", 0.42)
    assert gpu.memory
    assert gpu.memory_used
    assert 0 < gpu.memory_used < gpu.memory


def test_a_card_of_amd_tells_its_sensors() -> None:
    [gpu] = gpu_uses(TREES / "amd-gpu-desktop")
    assert gpu.name == "AMD Radeon RX 6700 XT"
    assert (gpu.gpu, gpu.busy, gpu.temperature, gpu.watts) == ("amd0", 0.83, 61, 143.0)
    assert gpu.memory == 12868124672
    assert gpu.memory_used is not None


def test_an_amd_processor_counts_the_memory_that_it_borrows() -> None:
    [gpu] = gpu_uses(TREES / "strix-halo-128gb")
    assert gpu.memory
    assert gpu.memory > 60 * 1024**3, "its own part is half a gigabyte"
    assert (gpu.busy, gpu.temperature, gpu.watts) == (None, None, None)


def test_a_rockchip_board_tells_its_load() -> None:
    [gpu] = gpu_uses(TREES / "rock-5b-16gb")
    assert (gpu.gpu, gpu.busy, gpu.memory) == ("mali0", 0.37, None)


@pytest.mark.parametrize("name", ["pi5-8gb", "n100-mini-pc", "m2-mac-16gb", "container-2cpu-2gb"])
def test_a_machine_whose_driver_tells_nothing_has_none(name: str) -> None:
    assert gpu_uses(TREES / name) == []


def test_several_cards_keep_their_numbers() -> None:
    text = "index, name, memory.used [MiB]\n1, A, 5 MiB\n3, B, [N/A]\n"
    assert parse_query(text) == [GpuUse("nvidia1", "A", memory_used=5 * MIB), GpuUse("nvidia3", "B")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        "index, name\n",
        "index, name, utilization.gpu [%]\n0\n",
        "index, name, utilization.gpu [%]\n0, , 5 %\n",
    ],
)
def test_a_broken_table_is_no_card(text: str) -> None:
    assert parse_query(text) == []


@pytest.mark.parametrize("value", ["[N/A]", "[Not Supported]", "-5", "1e9", "9" * 30, "5MiB", ""])
def test_what_is_no_figure_is_unknown(value: str) -> None:
    text = f"index, name, memory.used [MiB], utilization.gpu [%], power.draw [W]\nx, A, {value}, {value}, {value}\n"
    assert parse_query(text) == [GpuUse("nvidia0", "A")]


def test_sensors_with_nonsense_are_unknown(tmp_path: Path) -> None:
    device = "sys/bus/pci/devices/0000:0b:00.0"
    files = pci("0000:0b:00.0", "30000", "1002:73DF", "amdgpu") | {
        f"{device}/gpu_busy_percent": "4711\n",
        f"{device}/hwmon/hwmon1/temp1_input": "-1\n",
        f"{device}/mem_info_vram_used": "many\n",
        "sys/class/devfreq/fb000000.gpu/load": "999@x\n",
    }
    [gpu] = gpu_uses(write(tmp_path, files))
    assert (gpu.busy, gpu.temperature, gpu.memory_used) == (1.0, None, None)
