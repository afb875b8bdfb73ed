"""Descriptions of machines for people."""

from __future__ import annotations

import msgspec
import pytest

from edgeinfer.hardware import CpuClass, Gpu, HardwareProfile, LlamaBuild, Memory, Storage, describe, detect
from tests.support.paths import TREES


def test_one_cpu_is_one() -> None:
    profile = msgspec.structs.replace(detect(TREES / "pi4-4gb"), cpu_quota=1.0)
    assert dict(describe(profile))["CPU"].endswith("limited to 1 CPU")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "orange-pi-5-8gb",
            {
                "Board": "Orange Pi 5",
                "CPU": "4 × Cortex-A76 2.3 GHz + 4 × Cortex-A55 1.8 GHz, neon dotprod fp16",
                "Memory": "7.7 GiB, 6.9 GiB available, 3.9 GiB swap",
                "GPU": "Mali-G610, not used",
                "NPU": "RKNPU, not used",
                "Storage": "SD card, 41.0 GB free",
                "System": "Orange Pi 1.1.8 Bookworm, aarch64, systemd, 4 KiB pages",
                "llama.cpp": "unknown",
            },
        ),
        (
            "a18-pro-macbook-8gb",
            {
                "Board": "Mac17,5",
                "CPU": "Apple A18 Pro, 2 × performance + 4 × efficiency, neon dotprod fp16 i8mm bf16",
                "Memory": "8.0 GiB, 3.8 GiB available",
                "GPU": "Apple A18 Pro, metal, up to 5.3 GiB of the RAM",
                "NPU": "Apple Neural Engine, not used",
                "Storage": "123.5 GB free",
                "System": "macOS 26.3, arm64, launchd, 16 KiB pages",
                "llama.cpp": "unknown",
            },
        ),
        (
            "container-2cpu-2gb",
            {
                "Board": "unknown",
                "CPU": "Intel(R) Xeon(R) CPU @ 2.00GHz, 4 cores, avx avx2 fma f16c avx512, limited to 2 CPUs",
                "Memory": "31.4 GiB, limited to 2.0 GiB, 2.0 GiB available",
                "GPU": "none found",
                "NPU": "none found",
                "Storage": "30.7 GB free",
                "System": "Debian GNU/Linux 12 (bookworm), x86_64, in a container (docker), 4 KiB pages",
                "llama.cpp": "unknown",
            },
        ),
    ],
)
def test_a_machine_is_told_in_a_line_a_fact(name: str, expected: dict[str, str]) -> None:
    """Unknown facts are called unknown."""
    assert list(expected.items()) == describe(detect(TREES / name))


def text(label: str, **facts: object) -> list[str]:
    profile = HardwareProfile([], None, Memory(None, None, None))
    for name, fact in facts.items():
        profile = HardwareProfile(
            **{**{f: getattr(profile, f) for f in profile.__struct_fields__}, name: fact}
        )
    return [line for name, line in describe(profile) if name == label]


def test_each_gpu_has_a_line() -> None:
    """The line says how the GPU can be used."""
    gpus = (
        Gpu(
            "nvidia",
            "NVIDIA GeForce RTX 3060",
            "cuda",
            12 * 1024**3,
            compute_capability="8.6",
            driver="535.98",
        ),
        Gpu("nvidia", "NVIDIA GPU (10de:2504)"),
        Gpu("nvidia", "NVIDIA GPU (10de:2504)", driver="nouveau"),
        Gpu("broadcom", "VideoCore VII", shared=True),
    )
    assert [
        "NVIDIA GeForce RTX 3060, cuda, compute 8.6, 12.0 GiB",
        "NVIDIA GPU (10de:2504), its driver is missing",
        "NVIDIA GPU (10de:2504), not usable with the driver nouveau",
        "VideoCore VII, not used",
    ] == text("GPU", gpus=gpus)


def test_one_core_is_a_core() -> None:
    """One core is singular."""
    assert ["1 core 2.0 GHz"] == text("CPU", cpus=[CpuClass([0], None, 2000)])


def test_the_build_is_told() -> None:
    """GPU APIs come before instruction sets; of a package for any machine, the variant that runs here."""
    build = LlamaBuild("0.3.36", ("neon", "dotprod"), ("cuda",))
    assert ["0.3.36, cuda neon dotprod"] == text("llama.cpp", llama=build)
    build = LlamaBuild("0.3.36", ("neon", "dotprod"), variant="armv8.2_1")
    assert ["0.3.36, variant armv8.2_1, neon dotprod"] == text("llama.cpp", llama=build)


def test_a_disk_of_a_kind_may_have_unknown_room() -> None:
    """The kind may be unknown as well."""
    assert ["NVMe"] == text("Storage", storage=Storage("nvme", None))
    assert ["unknown"] == text("Storage")
