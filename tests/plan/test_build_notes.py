"""What llama.cpp was built for, held against recorded CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgeinfer.hardware import CpuClass, LlamaBuild, detect
from edgeinfer.plan.build_notes import BuildNote, build_note, unsuitable
from edgeinfer.plan.machine_notes import machine_notes
from tests.support.boards import AVX2, AVX512, V8, V8_2, V9, ZEN4, arm, x86
from tests.support.hardware import write
from tests.support.paths import TREES

GENERIC = "avx avx2 fma f16c"
SKYLAKE = f"{GENERIC} avx512"
ZEN = f"{SKYLAKE} vnni bf16"


def note(tree: str, isa: str, variant: str | None = None) -> BuildNote | None:
    profile = detect(TREES / tree)
    build = LlamaBuild("0.3.36", tuple(isa.split()), variant=variant)
    return build_note(build, profile.cpus, profile.cpu_name)


@pytest.mark.parametrize(
    ("tree", "isa", "level", "words"),
    [
        ("pi5-8gb", "neon dotprod fp16", None, ""),
        ("pi5-8gb", "neon", "warning", "without dotprod, fp16, which this CPU has: it is much slower"),
        ("pi5-8gb", "neon dotprod", "note", "without fp16"),
        ("pi4-4gb", "neon", None, ""),
        ("pi4-4gb", "neon dotprod", "error", "a CPU with dotprod, and this one (Cortex-A72) lacks it"),
        (
            "pi4-4gb",
            "neon dotprod fp16",
            "error",
            "a CPU with dotprod, fp16, and this one (Cortex-A72) lacks them",
        ),
        ("rock-5b-16gb", "neon", "warning", "without dotprod"),
        ("n100-mini-pc", "", "warning", "without avx, avx2"),
        ("n100-mini-pc", GENERIC, "note", "without avx-vnni"),
        ("n100-mini-pc", SKYLAKE, "error", "a CPU with avx512, and this one (Intel(R) N100) lacks it"),
        ("docker-cgroup1-j4125-2gb", GENERIC, "error", "a CPU with avx, avx2, fma, f16c"),
        ("docker-cgroup1-j4125-2gb", "", None, ""),
        ("ryzen-laptop", GENERIC, "warning", "without avx512, vnni"),
        ("amx-server", ZEN, "warning", "without amx, which this CPU has: quantized models run at half speed"),
        ("m2-mac-16gb", "neon dotprod fp16", "warning", "without i8mm"),
    ],
)
def test_a_build_is_held_against_the_cores(tree: str, isa: str, level: str | None, words: str) -> None:
    """What the CPU lacks is an error; what would make it faster is said as far as it would."""
    found = note(tree, isa)
    assert level == (found.level if found else None)
    assert words in (found.text if found else "")


@pytest.mark.parametrize(
    ("tree", "isa", "variant", "level"),
    [
        ("pi5-8gb", "neon dotprod fp16", "armv8.2_2", None),
        ("pi5-8gb", "neon", "armv8.0_1", "warning"),
        ("pi4-4gb", "neon", "armv8.0_1", None),
        ("m2-mac-16gb", "neon dotprod fp16", "armv8.2_2", "warning"),
        ("n100-mini-pc", f"{GENERIC} avx-vnni", "alderlake", None),
        ("ryzen-laptop", f"{ZEN} ", "zen4", None),
        ("amx-server", ZEN, "zen4", "note"),
    ],
)
def test_a_variant_is_held_against_them_too(tree: str, isa: str, variant: str, level: str | None) -> None:
    """The best that a package has may be less than the CPU can do."""
    found = note(tree, isa, variant)
    assert level == (found.level if found else None)
    assert found is None or f"runs its variant {variant}, which makes no use of this CPU's" in found.text


@pytest.mark.parametrize(
    ("machine", "isa"),
    [
        (arm("", "", 8, (0xD49, 4, 2800), features=V9), "neon dotprod fp16 i8mm"),
        (x86("AMD EPYC 9B45", f"{ZEN4} avx_vnni", 8, 4, 3000), ZEN),
        (x86("AMD EPYC 9B45", ZEN4, 8, 4, 3000), f"{SKYLAKE} vnni"),
    ],
    ids=["SVE, bf16 of ARM", "avx-vnni beside vnni", "bf16 of x86"],
)
def test_nothing_is_missed_that_makes_no_model_faster(
    machine: dict[str, str], isa: str, tmp_path: Path
) -> None:
    """llama.cpp has no use for it, or for nothing that runs here."""
    assert build_note(LlamaBuild("1", tuple(isa.split())), detect(write(tmp_path, machine)).cpus) is None


@pytest.mark.parametrize(
    ("features", "isa", "level"),
    [(AVX512, "vnni", None), (AVX512, "", "note"), (AVX2, "", None)],
)
def test_products_of_vectors_are_missed(features: str, isa: str, level: str | None, tmp_path: Path) -> None:
    """AVX-512 without VNNI makes products of three instructions instead of one."""
    build = LlamaBuild("1", tuple(f"{SKYLAKE if features == AVX512 else GENERIC} {isa}".split()))
    found = build_note(build, detect(write(tmp_path, x86("x", features, 8, 4, 3000))).cpus)
    assert level == (found.level if found else None)


def test_what_only_some_cores_have_does_not_count(tmp_path: Path) -> None:
    """A thread that has no core of its own may run on any, and a variant is chosen for all of them."""
    little = arm("", "", 8, (0xD03, 2, 1800), features=V8)["proc/cpuinfo"]
    big = arm("", "", 8, (0xD03, 2, 1800), (0xD0B, 2, 2400), features=V8_2)
    blocks = big["proc/cpuinfo"].split("\n\n")
    big["proc/cpuinfo"] = little + "\n\n".join(blocks[2:])
    cpus = detect(write(tmp_path, big)).cpus
    assert [("neon", "dotprod", "fp16"), ("neon",)] == [cores.isa for cores in cpus]
    assert build_note(LlamaBuild("1", ("neon",)), cpus) is None
    assert unsuitable(LlamaBuild("1", ("neon", "dotprod")), cpus)


def test_an_unknown_cpu_or_build_is_not_judged() -> None:
    """Nothing is known that could be wrong."""
    cpus = detect(TREES / "pi5-8gb").cpus
    assert build_note(None, cpus) is None
    assert build_note(LlamaBuild("1", ("avx512",)), []) is None
    assert build_note(LlamaBuild("1", ("avx512",)), [CpuClass([0], None, None)]) is None


def test_plan_and_install_tell_it_with_what_to_do() -> None:
    """A machine with a build that suits it has no notes."""
    profile = detect(TREES / "pi4-4gb")
    suits = replace(profile, llama=LlamaBuild("1", ("neon",)))
    crashes = replace(profile, llama=LlamaBuild("1", ("neon", "dotprod")))
    assert [] == machine_notes(suits)
    (text,) = machine_notes(crashes)
    assert text.startswith("llama.cpp was built for a CPU with dotprod")
    assert "llama-cpp-python" in text or "scripts/setup" in text
