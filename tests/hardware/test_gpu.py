"""Detection of GPUs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.hardware import Gpu, LlamaBuild, Memory, detect
from edgeinfer.hardware.graphics import with_reachable_api
from edgeinfer.hardware.nvidia import parse_query, parse_release
from tests.support.hardware import device_tree, pci, write

GB = 1024**3
MIB = 1024**2

MEMORY = {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"}
RAM = Memory(16 * GB, 8 * GB, None)
HEADER = "name, memory.total [MiB], memory.free [MiB], compute_cap, driver_version\n"
CARD = pci("0000:01:00.0", "30000", "10DE:2504")


def found(root: Path, files: dict[str, str]) -> list[Gpu]:
    return list(detect(write(root, MEMORY | files)).gpus)


def test_several_cards_are_told() -> None:
    """They are in the driver's order; detect sorts them."""
    text = HEADER + (
        "NVIDIA GeForce GTX 1650, 4096 MiB, 3800 MiB, 7.5, 550.54.14\n"
        "NVIDIA GeForce RTX 3090, 24576 MiB, 24100 MiB, 8.6, 550.54.14\n"
    )
    small = Gpu("nvidia", "NVIDIA GeForce GTX 1650", "cuda", 4 * GB, 3800 * MIB, False, "7.5", "550.54.14")
    large = Gpu("nvidia", "NVIDIA GeForce RTX 3090", "cuda", 24 * GB, 24100 * MIB, False, "8.6", "550.54.14")
    assert [small, large] == parse_query(text, RAM)


def test_the_largest_card_comes_first(tmp_path: Path) -> None:
    """GPUs that share the RAM come after cards."""
    rows = "A, 4096 MiB, 4000 MiB, 7.5, 550.54\nB, 8192 MiB, 8000 MiB, 8.6, 550.54\n"
    files = {"commands/nvidia-smi.txt": HEADER + rows} | pci("0000:00:02.0", "30000", "8086:46A6", "i915")
    assert ["B", "A", "Intel GPU (8086:46a6)"] == [gpu.name for gpu in found(tmp_path, files)]


def test_a_card_that_is_divided_is_the_part_that_can_be_used(tmp_path: Path) -> None:
    """CUDA uses the first part, and nothing of a card without one."""
    rows = (
        "NVIDIA H100 80GB HBM3, 81559 MiB, 81000 MiB, 9.0, 550.54.14, Enabled\n"
        "NVIDIA A30, 24576 MiB, 24000 MiB, 8.0, 550.54.14, Disabled\n"
        "NVIDIA H200, 143771 MiB, 143000 MiB, 9.0, 550.54.14, Enabled\n"
    )
    listed = (
        "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n"
        "  MIG 1g.10gb     Device  0: (UUID: MIG-1)\n  MIG 2g.20gb     Device  1: (UUID: MIG-2)\n"
        "GPU 1: NVIDIA A30 (UUID: GPU-2)\nGPU 2: NVIDIA H200 (UUID: GPU-3)\n"
    )
    header = HEADER.rstrip("\n") + ", mig.mode.current\n"
    files = {"commands/nvidia-smi.txt": header + rows, "commands/nvidia-smi-list.txt": listed}
    assert [(gpu.name, gpu.api, gpu.memory) for gpu in found(tmp_path, files)] == [
        ("NVIDIA A30", "cuda", 24 * GB),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "cuda", 10 * GB),
        ("NVIDIA H200 (MIG)", None, None),
    ]


def test_what_nvidia_smi_leaves_out_is_unknown() -> None:
    """A GPU without memory of its own shares the machine's, as in a DGX Spark."""
    (gpu,) = parse_query(HEADER + "NVIDIA GB10, [N/A], [N/A], 12.1, 580.95.05\n", RAM)
    assert Gpu("nvidia", "NVIDIA GB10", "cuda", 16 * GB, 8 * GB, True, "12.1", "580.95.05") == gpu


def test_a_jetson_in_a_container_is_known_by_its_name() -> None:
    """The device tree is hidden there, and nvidia-smi tells little more."""
    (gpu,) = parse_query(HEADER + "Orin (nvgpu), [N/A], [N/A], [N/A], N/A\n", RAM)
    assert ("8.7", None, True) == (gpu.compute_capability, gpu.driver, gpu.shared)


def test_an_old_driver_does_not_know_the_compute_capability() -> None:
    """Its answer has one column less."""
    (gpu,) = parse_query("name, memory.total [MiB], driver_version\nTesla K80, 11441 MiB, 470.57.02\n", RAM)
    assert Gpu("nvidia", "Tesla K80", "cuda", 11441 * MIB, None, driver="470.57.02") == gpu


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        'Field "compute_cap" is not a valid field to query.\n',
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
        "Failed to initialize NVML: Driver/library version mismatch\n",
        "No devices were found\n",
        HEADER + "[Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error], 550.54\n",
        HEADER + ", , , , \n",
    ],
)
def test_a_driver_that_does_not_answer_has_no_card(text: str) -> None:
    """nvidia-smi may print anything else."""
    assert [] == parse_query(text, RAM)


@given(st.text(max_size=300))
def test_any_answer_is_survived(text: str) -> None:
    """The command may be any program of that name."""
    assert all(gpu.name for gpu in parse_query(HEADER + text, RAM) + parse_query(text, RAM))


def test_the_tools_may_be_missing(tmp_path: Path) -> None:
    """The kernel's driver tells name and version; the memory is unknown."""
    files = CARD | {
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA GeForce RTX 3060\nIRQ:   \t\t 92\n",
    }
    assert [Gpu("nvidia", "NVIDIA GeForce RTX 3060", "cuda", driver="535.183.01")] == found(tmp_path, files)


@pytest.mark.parametrize("driver", [None, "nouveau"])
def test_a_card_without_its_driver_is_seen(driver: str | None, tmp_path: Path) -> None:
    """The user can then be told what is missing."""
    (gpu,) = found(tmp_path, pci("0000:01:00.0", "30000", "10DE:2504", driver))
    assert Gpu("nvidia", "NVIDIA GPU (10de:2504)", driver=driver) == gpu
    assert gpu.lacks_driver


def test_a_card_has_the_name_of_the_list_of_ids(tmp_path: Path) -> None:
    """Devices of other vendors may have the same number."""
    ids = (
        "# List of PCI ID's\n1002  Advanced Micro Devices\n\t2504  Not this one\n\n10de  NVIDIA Corporation\n"
        "\t2503  GA106 [GeForce RTX 3060]\n\t\t1462 397d  A board\n\t2504  GA106 [GeForce RTX 3060 Lite Hash Rate]\n"
    )
    (gpu,) = found(tmp_path, CARD | {"usr/share/hwdata/pci.ids": ids})
    assert "NVIDIA GA106 [GeForce RTX 3060 Lite Hash Rate]" == gpu.name


def test_a_container_sees_cards_that_it_was_not_given(tmp_path: Path) -> None:
    """It sees the host's /sys and /proc."""
    files = {
        ".dockerenv": "",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA GeForce RTX 3060\n",
        **pci("0000:01:00.0", "30000", "10DE:2504", "nvidia"),
        **pci("0000:03:00.0", "30000", "1002:73DF", "amdgpu"),
        **pci("0000:00:02.0", "30000", "8086:46A6", "i915"),
    }
    gpus = found(tmp_path / "without", files)
    assert {("nvidia", None), ("amd", None), ("intel", None)} == {(gpu.vendor, gpu.api) for gpu in gpus}
    assert all(gpu.lacks_driver for gpu in gpus)
    gpus = found(tmp_path / "with", files | {"dev/dri/renderD128": ""})
    assert {("nvidia", None), ("amd", "vulkan"), ("intel", "vulkan")} == {
        (gpu.vendor, gpu.api) for gpu in gpus
    }


def test_servers_have_screens_that_are_no_gpus(tmp_path: Path) -> None:
    """Their vendors have no compute drivers, and a network card is not a GPU."""
    files = pci("0000:04:00.0", "30000", "1A03:2000", "ast") | pci(
        "0000:05:00.0", "20000", "8086:1533", "igb"
    )
    assert [] == found(tmp_path, files)


AMD_CARD = pci("0000:0b:00.0", "30000", "1002:73DF", "amdgpu")
NODE = "sys/class/kfd/kfd/topology/nodes/1/properties"


@pytest.mark.parametrize(
    ("files", "api"),
    [
        ({}, "vulkan"),
        ({"opt/rocm/.info/version": "6.2.0"}, "vulkan"),
        ({"opt/rocm/.info/version": "6.2.0", NODE: "gfx_target_version 0\ndevice_id 29663\n"}, "vulkan"),
        ({"opt/rocm/.info/version": "6.2.0", NODE: "gfx_target_version 100301\ndevice_id 29663\n"}, "rocm"),
        ({NODE: "gfx_target_version 100301\ndevice_id 29663\n"}, "vulkan"),
    ],
)
def test_rocm_needs_its_libraries_and_the_kernels_offer(
    files: dict[str, str], api: str, tmp_path: Path
) -> None:
    """Otherwise Vulkan is used for an AMD card."""
    assert [api] == [gpu.api for gpu in found(tmp_path, AMD_CARD | files)]


def test_the_old_driver_of_amd_is_of_no_use(tmp_path: Path) -> None:
    """It does not support Vulkan."""
    (gpu,) = found(tmp_path, pci("0000:0b:00.0", "30000", "1002:6810", "radeon"))
    assert (None, None, True) == (gpu.api, gpu.memory, gpu.lacks_driver)


def test_a_card_of_intel_has_memory_of_its_own(tmp_path: Path) -> None:
    """A card is not on the processor's own bus."""
    place = "sys/bus/pci/devices/0000:03:00.0/tile0/physical_vram_size_bytes"
    files = pci("0000:03:00.0", "30000", "8086:E20B", "xe") | {place: f"{12 * GB}\n"}
    assert [Gpu("intel", "Intel GPU (8086:e20b)", "vulkan", 12 * GB, driver="xe")] == found(tmp_path, files)


def test_a_small_machine_lends_half_of_its_ram_to_a_gpu_of_intel(tmp_path: Path) -> None:
    """A larger machine lends three quarters."""
    files = pci("0000:00:02.0", "30000", "8086:46D1", "i915")
    assert [12 * GB] == [gpu.memory for gpu in found(tmp_path / "16", files)]
    files |= {"proc/meminfo": "MemTotal: 4194304 kB\n"}
    assert [2 * GB] == [gpu.memory for gpu in found(tmp_path / "4", files)]


@pytest.mark.parametrize(
    ("chip", "name", "capability"),
    [("264", "Thor", "11.0"), ("234", "Orin", "8.7"), ("194", "Xavier", "7.2"), ("210", "Tegra X1", "5.3")],
)
def test_a_jetson_needs_no_nvidia_smi(chip: str, name: str, capability: str, tmp_path: Path) -> None:
    """JetPack has it only from version 6 on."""
    files = device_tree("NVIDIA Jetson", "nvidia,p0000", f"nvidia,tegra{chip}") | {
        "etc/nv_tegra_release": "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref\n"
    }
    assert [Gpu("nvidia", name, "cuda", 16 * GB, 8 * GB, True, capability, "35.4.1")] == found(
        tmp_path, files
    )


def test_a_jetson_with_another_kernel_lacks_its_driver(tmp_path: Path) -> None:
    """A distribution's own kernel has none."""
    (gpu,) = found(tmp_path, device_tree("NVIDIA Jetson", "nvidia,tegra234"))
    assert (None, None, True) == (gpu.api, gpu.driver, gpu.lacks_driver)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("# R36 (release), REVISION: 4.3, GCID: 1", "36.4.3"),
        ("# R32 (release), REVISION: 7.4, GCID: 1", "32.7.4"),
        ("# R38 (release), REVISION: 2.0, GCID: 1", "38.2.0"),
        ("R36", None),
        ("", None),
    ],
)
def test_the_release_of_a_jetson_is_read(text: str, version: str | None) -> None:
    """JetPack writes it as a comment."""
    assert version == parse_release(text)


@pytest.mark.parametrize(
    ("files", "gpu"),
    [
        (device_tree("Other", "rockchip,rk3326"), None),
        (
            device_tree("Other", "x")
            | {"proc/device-tree/gpu@ff400000/compatible": "rockchip,g52\0arm,mali-bifrost\0"},
            Gpu("arm", "Mali", shared=True),
        ),
        (
            device_tree("Other", "x")
            | {"proc/device-tree/soc@0/gpu@5000000/compatible": "qcom,adreno-643.0\0qcom,adreno\0"},
            Gpu("qualcomm", "Adreno", shared=True),
        ),
        ({"sys/class/misc/mali0/dev": "10:123"}, Gpu("arm", "Mali", shared=True)),
    ],
)
def test_gpus_of_other_chips_are_seen_but_not_used(
    files: dict[str, str], gpu: Gpu | None, tmp_path: Path
) -> None:
    """The device tree or the driver names them."""
    assert ([gpu] if gpu else []) == found(tmp_path, files)
    assert gpu is None or not gpu.lacks_driver


@pytest.mark.parametrize(
    ("apis", "api"),
    [
        (None, "cuda"),
        (("cuda",), "cuda"),
        (("cuda", "vulkan"), "cuda"),
        (("vulkan",), "vulkan"),
        ((), "cuda"),
    ],
)
def test_a_build_with_vulkan_reaches_any_card(apis: tuple[str, ...] | None, api: str) -> None:
    """It is used if the build lacks the vendor's own API."""
    card = Gpu("nvidia", "NVIDIA GeForce RTX 3060", "cuda", 12 * GB)
    build = None if apis is None else msgspec.convert({"version": "1", "apis": apis}, LlamaBuild)
    assert api == with_reachable_api(card, build).api


TWO_CARDS = (
    "name, memory.total [MiB], memory.free [MiB], compute_cap, driver_version\n"
    "NVIDIA GeForce RTX 3060, 12288 MiB, 12000 MiB, 8.6, 580.65\n"
    "NVIDIA GeForce RTX 3090, 24576 MiB, 24000 MiB, 8.6, 580.65\n"
)


def test_several_cards_have_the_numbers_of_the_bus(tmp_path: Path) -> None:
    """The largest comes first, and keeps its number; an integrated GPU has none."""
    files = {"commands/nvidia-smi.txt": TWO_CARDS, "dev/dri/card0": ""}
    files |= pci("0000:00:02.0", "30000", "8086:46A6", "i915")
    gpus = detect(write(tmp_path, files)).gpus
    assert [("RTX 3090", 1), ("RTX 3060", 0)] == [(gpu.name[-8:], gpu.index) for gpu in gpus[:2]]
    assert [None] == [gpu.index for gpu in gpus[2:]]


def test_a_single_card_has_no_number(tmp_path: Path) -> None:
    """There is nothing to choose."""
    files = {"commands/nvidia-smi.txt": "\n".join(TWO_CARDS.splitlines()[:2])}
    assert [None] == [gpu.index for gpu in detect(write(tmp_path, files)).gpus]
