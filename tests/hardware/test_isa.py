"""Instruction sets and names of cores, from what kernels write into /proc/cpuinfo."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.hardware import detect
from edgeinfer.hardware.cpu import CPU_DIR
from edgeinfer.hardware.isa import cpuinfo
from tests.support.hardware import write

V8_0 = "fp asimd evtstrm crc32 cpuid"
V8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
V8_4 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 asimddp "
    "sha512 asimdfhm dit uscat ilrcpc flagm"
)
V9 = f"{V8_4} ssbs sb paca pacg dcpodp flagm2 frint i8mm bf16 bti"
SVE = f"{V8_4} sve ssbs paca pacg dcpodp svei8mm svebf16 i8mm bf16 dgh rng"
SVE2 = f"{SVE} sb sve2 sveaes svepmull svebitperm svesha3 flagm2 frint bti"

Core = tuple[int, int, str]
"""Implementer, part and features of a core."""


def machine(root: Path, cores: list[Core]) -> Path:
    """Write the files of a machine with these cores."""
    text = "".join(
        f"processor\t: {cpu}\nBogoMIPS\t: 48.00\nFeatures\t: {features}\nCPU implementer\t: {implementer:#x}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {part:#05x}\nCPU revision\t: 0\n\n"
        for cpu, (implementer, part, features) in enumerate(cores)
    )
    return write(root, {"proc/cpuinfo": text, f"{CPU_DIR}/online": f"0-{len(cores) - 1}\n"})


@pytest.mark.parametrize(
    ("core", "name", "isa"),
    [
        ((0x41, 0xD03, V8_0), "Cortex-A53", "neon"),
        ((0x41, 0xD08, V8_0), "Cortex-A72", "neon"),
        ((0x41, 0xD05, V8_2), "Cortex-A55", "neon dotprod fp16"),
        ((0x41, 0xD0B, V8_2), "Cortex-A76", "neon dotprod fp16"),
        ((0x41, 0xD42, f"{V8_2} uscat ilrcpc flagm paca pacg"), "Cortex-A78AE", "neon dotprod fp16"),
        ((0x41, 0xD44, f"{V8_2} ssbs"), "Cortex-X1", "neon dotprod fp16"),
        ((0x41, 0xD4C, f"{V8_2} uscat ilrcpc flagm"), "Cortex-X1C", "neon dotprod fp16"),
        ((0x41, 0xD4E, V9), "Cortex-X3", "neon dotprod fp16 i8mm bf16"),
        ((0x41, 0xD0C, f"{V8_2} ssbs"), "Neoverse-N1", "neon dotprod fp16"),
        ((0x41, 0xD40, SVE), "Neoverse-V1", "neon dotprod fp16 i8mm sve bf16"),
        ((0x41, 0xD4F, SVE2), "Neoverse-V2", "neon dotprod fp16 i8mm sve bf16"),
        ((0x46, 0x001, "fp asimd atomics fphp asimdhp fcma dcpop sve"), "A64FX", "neon fp16 sve"),
        ((0x4E, 0x004, V8_2.removesuffix(" asimddp")), "Carmel", "neon fp16"),
        ((0x51, 0x001, f"{V9} rng ecv"), "Oryon", "neon dotprod fp16 i8mm bf16"),
        ((0x51, 0x804, V8_2), "Kryo-4XX-Gold", "neon dotprod fp16"),
        ((0x61, 0x023, f"{V8_4} sb dcpodp flagm2 frint"), "Firestorm", "neon dotprod fp16"),
        ((0x61, 0x033, V9), "Avalanche", "neon dotprod fp16 i8mm bf16"),
        ((0x61, 0x000, f"{V9} sme smei16i64 smef64f64"), "Apple", "neon dotprod fp16 i8mm bf16"),
        ((0x70, 0x664, V8_0), "FTC664", "neon"),
        ((0xC0, 0xAC3, f"{V9} rng ecv"), "Ampere-1", "neon dotprod fp16 i8mm bf16"),
        ((0x41, 0xFFF, V9), None, "neon dotprod fp16 i8mm bf16"),
        ((0x77, 0x001, V8_2), None, "neon dotprod fp16"),
        ((0x00, 0x000, f"{V8_4} ssbs"), None, "neon dotprod fp16"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else f"{value[0]:x}-{value[1]:x}" if isinstance(value, tuple) else ""
    ),
)
def test_an_arm_core_has_a_name_and_what_llama_cpp_can_use(
    core: Core, name: str | None, isa: str, tmp_path: Path
) -> None:
    """Features as Linux writes them; of a core that is not in our table they are known all the same."""
    (cores,) = detect(machine(tmp_path, [core])).cpus
    assert (name, tuple(isa.split())) == (cores.name, cores.isa)


def test_three_kinds_of_cores_are_three_classes(tmp_path: Path) -> None:
    """A Snapdragon 8 Gen 2: its cores have SVE, its kernel does not give it to programs."""
    cores = [(0x41, part, V9) for part in (0xD46, 0xD46, 0xD46, 0xD47, 0xD47, 0xD4D, 0xD4D, 0xD4E)]
    names = {core.name: core.cpus for core in detect(machine(tmp_path, cores)).cpus}
    assert {"Cortex-X3": [7], "Cortex-A715": [5, 6], "Cortex-A710": [3, 4], "Cortex-A510": [0, 1, 2]} == names


def test_an_unknown_big_core_is_not_of_a_little_ones_kind(tmp_path: Path) -> None:
    """It has no name, and comes first: the little one is known to be slow."""
    cores = detect(machine(tmp_path, [(0x41, 0xD46, V9), (0x41, 0xFFF, V9)])).cpus
    assert [(None, [1]), ("Cortex-A510", [0])] == [(core.name, core.cpus) for core in cores]


def test_each_class_has_the_features_of_its_own_cores(tmp_path: Path) -> None:
    """Linux gives programs what all cores have; a record may say otherwise."""
    cores = detect(machine(tmp_path, [(0x41, 0xD03, V8_0), (0x41, 0xD0B, V8_2)])).cpus
    assert [("neon", "dotprod", "fp16"), ("neon",)] == [core.isa for core in cores]


def test_an_old_kernel_writes_once_what_all_cores_have(tmp_path: Path) -> None:
    """Linux 3.14 of an Odroid C2."""
    listed = "".join(f"processor\t: {cpu}\n" for cpu in range(4))
    shared = (
        "Features\t: fp asimd crc32 \nCPU implementer\t: 0x41\nCPU part\t: 0xd03\n\nHardware\t: ODROID-C2\n"
    )
    text = f"Processor\t: AArch64 Processor rev 4 (aarch64)\n{listed}{shared}"
    write(tmp_path, {"proc/cpuinfo": text, f"{CPU_DIR}/online": "0-3\n"})
    assert {0, 1, 2, 3} == cpuinfo(tmp_path).keys()
    (cores,) = detect(tmp_path).cpus
    assert ("Cortex-A53", [0, 1, 2, 3], ("neon",)) == (cores.name, cores.cpus, cores.isa)


def test_a_32_bit_program_sees_none_of_the_sets(tmp_path: Path) -> None:
    """A 64-bit kernel lists the features of 32-bit programs to them."""
    features = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm aes crc32"
    (cores,) = detect(machine(tmp_path, [(0x41, 0xD08, features)])).cpus
    assert ("Cortex-A72", ()) == (cores.name, cores.isa)
