"""The tables of processors, and the estimates for those that are not in them."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.hardware import HardwareProfile
from edgeinfer.hardware.board import Board
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.hardware.isa import CORES, FEATURES, FLAGS, RISCV_CORES
from edgeinfer.hardware.memory import Memory
from edgeinfer.plan.bandwidth import Bandwidth, cpu_bandwidth, gpu_bandwidth
from edgeinfer.plan.processor_tables import cpu_table, find_card, gpu_table

GB = 1024**3


def machine(
    cores: int = 4, mhz: int | None = 1800, name: str | None = None, isa: str = "neon", **facts: Any
) -> HardwareProfile:
    cpus = [CpuClass(list(range(cores)), None, mhz, name, tuple(isa.split()))]
    return HardwareProfile(
        **{"cpus": cpus, "cpu_quota": None, "memory": Memory(8 * GB, 7 * GB, None)} | facts
    )


def board(family: str, model: str = "A board") -> Board:
    return Board(model, (), family)


def peak(name: str, gigabytes: float = 8, vendor: str = "nvidia", **facts: Any) -> float | None:
    """GB/s of a card's memory, before the share that llama.cpp reaches."""
    card = find_card(vendor, name)
    return card.peak(gigabytes) if card else None


@pytest.mark.parametrize(
    ("name", "gigabytes", "expected"),
    [
        ("NVIDIA GeForce RTX 4070", 12, 480),
        ("NVIDIA GeForce RTX 4070 SUPER", 12, 504),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16, 672),
        ("NVIDIA GeForce RTX 4070 Laptop GPU", 8, 256),
        ("NVIDIA GeForce RTX 3060", 12, 360),
        ("NVIDIA GeForce RTX 3060", 8, 240),
        ("NVIDIA GeForce RTX 3060", 7.996, 240),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", 6, 336),
        ("NVIDIA GeForce RTX 3050", 6, 168),
        ("NVIDIA GeForce RTX 2070 with Max-Q Design", 8, 352),
        ("GeForce GTX 1060 3GB", 3, 192),
        ("NVIDIA GeForce GTX 1080 Ti", 11, 484),
        ("NVIDIA A100-SXM4-40GB", 39.6, 1555),
        ("NVIDIA A100 80GB PCIe", 80, 1935),
        ("NVIDIA H100 80GB HBM3", 79.6, 3350),
        ("NVIDIA H100 PCIe", 79.6, 2039),
        ("NVIDIA GH200 480GB", 95, 4000),
        ("NVIDIA GB10", 0, 273),
        ("Tesla V100-SXM2-16GB", 16, 897),
        ("Tesla T4", 15, 320),
        ("NVIDIA L4", 22.5, 300),
        ("NVIDIA A2", 15, 200),
        ("NVIDIA RTX A2000 12GB", 12, 288),
        ("NVIDIA RTX A2000 Laptop GPU", 4, 192),
        ("NVIDIA RTX 2000 Ada Generation", 16, 224),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 96, 1597),
    ],
)
def test_cards_of_nvidia_are_told_apart(name: str, gigabytes: float, expected: int) -> None:
    """The longest name counts, laptops have figures of their own, and so have sizes where they differ."""
    assert expected == peak(name, gigabytes)


@pytest.mark.parametrize(
    ("vendor", "name", "expected"),
    [
        ("amd", "AMD Radeon RX 6700 XT", 384),
        ("amd", "AMD Navi 22 [Radeon RX 6700/6700 XT/6750 XT / 6800M/6850M XT]", 320),
        ("amd", "AMD Radeon (1002:73df)", 320),
        ("amd", "AMD Radeon RX 7900 XTX", 960),
        ("amd", "Radeon RX 580 Series", 224),
        ("amd", "AMD Radeon RX 9070 XT", 640),
        ("amd", "AMD Radeon (Strix Halo)", 256),
        ("amd", "AMD Radeon (Phoenix)", None),
        ("intel", "Intel DG2 [Arc A770]", 512),
        ("intel", "Intel GPU (8086:e20b)", 456),
        ("intel", "Intel Graphics", None),
    ],
)
def test_cards_of_others_are_known_by_name_or_id(vendor: str, name: str, expected: int | None) -> None:
    """Where a chip is in several cards, the slowest counts."""
    assert expected == peak(name, 8, vendor)


@pytest.mark.parametrize(
    ("card", "most"),
    [
        (Gpu("nvidia", "NVIDIA GeForce RTX 6060", "cuda", 12 * GB), 96),
        (Gpu("nvidia", "NVIDIA GeForce RTX 4065 Laptop GPU", "cuda", 8 * GB), 75),
        (Gpu("amd", "AMD Radeon RX 9999", "vulkan", 16 * GB), 100),
        (Gpu("intel", "Intel Arc C980", "vulkan", 24 * GB), 144),
        (Gpu("nvidia", "NVIDIA GPU", "cuda", None), 7),
        (Gpu("nvidia", "NVIDIA Graphics Device", "cuda", 4 * GB), 32),
    ],
    ids=lambda value: value.name if isinstance(value, Gpu) else "",
)
def test_an_unknown_card_counts_as_the_slowest_of_its_size(card: Gpu, most: float) -> None:
    """Half of that card's bandwidth is reached, and the source says that it is an estimate."""
    bandwidth = gpu_bandwidth(card, machine())
    assert bandwidth
    assert bandwidth.rate <= most * 1e9
    assert bandwidth.source.startswith("estimated for")


def test_no_card_in_the_table_is_slower_than_an_unknown_one_would_count() -> None:
    """Cards of the last ten years, by the sizes that the table tells apart."""
    unknown = gpu_table().unknown
    for series in gpu_table().series:
        if series.name.startswith("Tegra"):
            continue  # it has no memory of its own
        for name, rate in (*series.desktop.items(), *series.laptop.items()):
            for gigabytes, peak in rate.items() if isinstance(rate, dict) else []:
                floor = unknown[max(size for size in unknown if size <= gigabytes)]
                assert peak >= floor, name


def gbs(bandwidth: Bandwidth) -> float:
    return bandwidth.rate / 1e9


def test_a_quota_gets_its_share_of_a_known_rate() -> None:
    """A Pi 5 that is limited to one CPU does not generate 10 tok/s."""
    profile = machine(4, 2400, "Cortex-A76", board=board("raspberry-pi-5"))
    assert 10 == gbs(cpu_bandwidth(profile))
    assert 2.5 == gbs(cpu_bandwidth(profile, threads=1))
    limited = machine(4, 2400, "Cortex-A76", board=board("raspberry-pi-5"), cpu_quota=1.0)
    assert 2.5 == gbs(cpu_bandwidth(limited))


def test_other_cores_of_a_known_board_are_computed() -> None:
    """A container may have got the four A55 of an RK3588, and N305 and N100 share a rate."""
    assert gbs(cpu_bandwidth(machine(4, 1800, "Cortex-A55", board=board("rk3588")))) < 1
    for name in ("Intel(R) N100", "Intel(R) Core(TM) i3-N305"):
        assert 18 == gbs(cpu_bandwidth(machine(8, 3800, isa="avx avx2", cpu_name=name)))


@pytest.mark.parametrize(
    ("profile", "low", "high"),
    [
        (machine(4, 1500, "Cortex-A53"), 0.5, 1),
        (machine(4, 1800, "Cortex-A72"), 3.1, 3.3),
        (machine(4, 2400, "Cortex-A76"), 9.5, 10),
        (machine(2, 1800, "Cortex-A72"), 1.5, 1.7),
        (machine(4, 1479, "Cortex-A57"), 2, 3),
        (machine(4, 2700, isa="", cpu_name="Intel(R) Celeron(R) J4125 CPU @ 2.00GHz"), 1.5, 4),
        (machine(4, 1500, "SiFive U74", isa="rv64"), 0.1, 0.5),
        (machine(8, 1600, "SpacemiT X60", isa="rv64 rvv"), 0.8, 2),
        (machine(6, 4200, isa="avx avx2 fma f16c", cpu_name="AMD Ryzen 5 3600"), 12, 20),
        (machine(64, 2450, isa="avx avx2", cpu_name="AMD EPYC 7763 64-Core Processor"), 60, 120),
        (machine(2, 2450, isa="avx avx2", cpu_name="AMD EPYC 7763 64-Core Processor"), 5, 8),
        (machine(80, 3000, "Neoverse-N1"), 40, 80),
        (machine(4, None, isa=""), 0.5, 2),
    ],
    ids=lambda value: value.cpus[0].name or value.cpu_name if isinstance(value, HardwareProfile) else "",
)
def test_cores_that_nobody_measured_are_computed(profile: HardwareProfile, low: float, high: float) -> None:
    """An A72 in a container is as fast as the Raspberry Pi 4 around it."""
    bandwidth = cpu_bandwidth(profile)
    assert low <= gbs(bandwidth) <= high
    assert bandwidth.source.startswith("estimated for")


def test_names_in_the_tables_are_those_of_the_detection() -> None:
    """A name with a mistake would never match."""
    assert set(cpu_table().cores) <= {*CORES.values(), *RISCV_CORES.values()}
    words = {word for row in cpu_table().instructions for word in row.isa}
    assert words <= {*FLAGS, *FEATURES, "rv64", "rvv"}
    assert [] == cpu_table().instructions[-1].isa
