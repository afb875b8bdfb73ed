"""Machines of kinds that few have: RISC-V, Macs under Linux, Intel's cards, several processors."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edgeinfer.hardware import CpuClass, LlamaBuild, detect
from edgeinfer.hardware.cpu import CPU_DIR, NODES
from edgeinfer.hardware.graphics import with_reachable_api
from edgeinfer.plan.bandwidth import gpu_bandwidth
from edgeinfer.plan.build_notes import build_note
from edgeinfer.plan.gpu_placement import choose_gpu
from edgeinfer.plan.threads import choose_threads
from tests.support.boards import V8_2, arm, nvidia, radeon
from tests.support.hardware import GB, device_tree, pci, write


def riscv(isa: str, name: str) -> dict[str, str]:
    """A /proc/cpuinfo of two cores, and the files that list them."""
    text = "".join(f"processor\t: {i}\nhart\t\t: {i + 1}\nisa\t\t: {isa}\n{name}\n\n" for i in range(2))
    return {"proc/cpuinfo": text, f"{CPU_DIR}/online": "0-1\n", "commands/uname.txt": "riscv64\n"}


@pytest.mark.parametrize(
    ("isa", "name", "core", "sets"),
    [
        ("rv64imafdc_zicntr_zba_zbb", "uarch\t\t: sifive,u74-mc", "SiFive U74", ("rv64",)),
        ("rv64imafdcv_zicbom_zvkt", "model name\t: Spacemit(R) X60", "SpacemiT X60", ("rv64", "rvv")),
        ("rv64imafdcv", "uarch\t\t: spacemit,x60", "SpacemiT X60", ("rv64", "rvv")),
        ("rv64imafdcvh", "uarch\t\t: new,core", None, ("rv64", "rvv")),
        ("rv64imafdch_sscofpmf", "uarch\t\t: sifive,p550", "SiFive P550", ("rv64",)),
    ],
)
def test_risc_v_cores_have_names_and_vectors_or_not(
    isa: str, name: str, core: str | None, sets: tuple[str, ...], tmp_path: Path
) -> None:
    """The letter v stands before the first underscore; extensions with a v in their names are not vectors."""
    profile = detect(write(tmp_path, riscv(isa, name)))
    assert [CpuClass([0, 1], None, None, core, sets)] == profile.cpus
    assert build_note(LlamaBuild("1", ("neon",)), profile.cpus) is None


def arc(resource: str | None, driver: str = "i915") -> dict[str, str]:
    """An Arc A770, with the addresses of its windows."""
    files = pci("0000:03:00.0", "30000", "8086:56A0", driver) | {"dev/dri/card0": ""}
    return files if resource is None else files | {"sys/bus/pci/devices/0000:03:00.0/resource": resource}


REGISTERS = "0x0000000050000000 0x0000000050ffffff 0x0000000000040200\n" + "0x0 0x0 0x0\n"


@pytest.mark.parametrize(
    ("resource", "memory"),
    [
        (REGISTERS + "0x0000004000000000 0x00000043ffffffff 0x000000000014220c\n", 16 * GB),
        (REGISTERS + "0x0000004000000000 0x000000400fffffff 0x000000000014220c\n", None),
        (REGISTERS, None),
        ("nonsense\n" * 3, None),
        (None, None),
    ],
    ids=["resized", "256 MiB", "no window", "nonsense", "missing"],
)
def test_an_intel_card_under_i915_tells_its_memory_by_its_window(
    resource: str | None, memory: int | None, tmp_path: Path
) -> None:
    """Only a window that was resized shows all of it."""
    (gpu,) = detect(write(tmp_path, arc(resource))).gpus
    assert ("intel", "vulkan", memory, False) == (gpu.vendor, gpu.api, gpu.memory, gpu.shared)


def test_an_intel_card_under_xe_says_it(tmp_path: Path) -> None:
    """Its own file counts."""
    files = arc(None, "xe")
    files["sys/bus/pci/devices/0000:03:00.0/tile0/physical_vram_size_bytes"] = f"{12 * GB}\n"
    assert 12 * GB == detect(write(tmp_path, files)).gpus[0].memory


def test_a_mac_under_linux_has_a_gpu(tmp_path: Path) -> None:
    """It is named, and not used: llama.cpp has no driver for it there."""
    files = device_tree("Apple MacBook Air (M1, 2020)", "apple,j313", "apple,t8103", "apple,arm-platform")
    profile = detect(write(tmp_path, files))
    assert ["Apple M1"] == [gpu.name for gpu in profile.gpus]
    assert "Apple M1" in (choose_gpu(profile).reason or "")


def machine(packages: list[int], nodes: int) -> dict[str, str]:
    """Cores of these processors, and so many nodes of memory."""
    files = {f"{CPU_DIR}/online": f"0-{len(packages) - 1}\n"}
    for cpu, package in enumerate(packages):
        files[f"{CPU_DIR}/cpu{cpu}/topology/physical_package_id"] = f"{package}\n"
        files[f"{CPU_DIR}/cpu{cpu}/topology/thread_siblings_list"] = f"{cpu}\n"
    return files | {f"{NODES}/node{node}/cpulist": "\n" for node in range(nodes)}


@pytest.mark.parametrize(
    ("packages", "nodes", "threads", "cpus"),
    [
        ([0, 0, 0, 0, 1, 1, 1, 1], 2, 4, (0, 1, 2, 3)),
        ([0, 1, 0, 1, 0, 1, 1, 1], 2, 5, (1, 3, 5, 6, 7)),
        ([0] * 8, 4, 8, ()),
        (list(range(8)), 1, 8, ()),
        ([0] * 8, 1, 8, ()),
    ],
    ids=["two sockets", "interleaved", "four nodes in a socket", "a virtual machine", "one"],
)
def test_threads_keep_to_one_processor(
    packages: list[int], nodes: int, threads: int, cpus: tuple[int, ...], tmp_path: Path
) -> None:
    """Memory of another one is farther away; one with several nodes is used as a whole."""
    choice = choose_threads(detect(write(tmp_path, machine(packages, nodes))), None)
    assert (threads, cpus) == (choice.count, choice.cpus)
    if cpus:
        assert "one processor" in choice.reason


def test_an_intel_card_in_a_virtual_machine_is_a_card(tmp_path: Path) -> None:
    """There it may be on the bus of the processor's own devices."""
    files = pci("0000:00:10.0", "30000", "8086:56A0", "i915") | {"dev/dri/card0": ""}
    files |= pci("0000:00:02.0", "30000", "8086:46A6", "i915")
    assert {"8086:56a0": False, "8086:46a6": True} == {
        gpu.name[-10:-1]: gpu.shared for gpu in detect(write(tmp_path, files)).gpus
    }


@pytest.mark.parametrize(
    ("device", "shared"), [("1435", True), ("1999", True), ("98E4", True), ("73DF", False), ("7551", False)]
)
def test_radeons_in_processors_are_known_by_their_numbers(device: str, shared: bool, tmp_path: Path) -> None:
    """Also those that are newer than the list of names."""
    assert [shared] == [gpu.shared for gpu in detect(write(tmp_path, radeon(device, 1, 7))).gpus]


@pytest.mark.parametrize(("device", "shared"), [("1586", True), ("744C", False)])
def test_a_build_with_vulkan_serves_a_radeon_that_has_rocm(device: str, shared: bool, tmp_path: Path) -> None:
    """Also one that is part of a processor."""
    (gpu,) = detect(write(tmp_path, radeon(device, 1, 60))).gpus
    rocm = msgspec.structs.replace(gpu, api="rocm")
    assert shared is gpu.shared
    assert "vulkan" == with_reachable_api(rocm, LlamaBuild("1", (), ("vulkan",))).api
    assert "rocm" == with_reachable_api(rocm, LlamaBuild("1")).api


def test_nodes_of_memory_stand_for_processors_that_are_not_told(tmp_path: Path) -> None:
    """A record may lack the numbers of the processors."""
    files = {name: text for name, text in machine([0] * 8, 2).items() if "package" not in name}
    files |= {f"{NODES}/node0/cpulist": "0-3\n", f"{NODES}/node1/cpulist": "4-7\n"}
    assert (4, (0, 1, 2, 3)) == (
        choose_threads(detect(write(tmp_path, files)), None).count,
        choose_threads(detect(tmp_path), None).cpus,
    )


@pytest.mark.parametrize(
    ("name", "gigabytes", "source"),
    [("Orin (nvgpu)", 8, "known"), ("Thor", 128, "known"), ("Next (nvgpu)", 16, "estimated")],
)
def test_a_jetson_in_a_container_computes_on_its_gpu(
    name: str, gigabytes: float, source: str, tmp_path: Path
) -> None:
    """The device tree is hidden there, and the name of the GPU must do."""
    files = arm("", "", gigabytes, (0xD42, 6, 1728), features=V8_2) | nvidia(name, None, "8.7")
    placement = choose_gpu(profile := detect(write(tmp_path, files)))
    assert placement.gpu
    bandwidth = gpu_bandwidth(placement.gpu, profile)
    assert bandwidth
    assert bandwidth.source.startswith(source)
