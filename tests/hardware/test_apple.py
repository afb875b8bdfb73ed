"""Detection of Macs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.hardware import CpuClass, HardwareProfile, detect
from edgeinfer.hardware.apple import metal_limit, parse_vm_stat
from tests.support.hardware import write

GB = 1024**3
MIB = 1024**2


def mac(root: Path, **facts: object) -> HardwareProfile:
    """A Mac with these facts; dots in their keys are written as two underscores."""
    lines = (f"{key.replace('__', '.')}: {value}\n" for key, value in facts.items())
    return detect(write(root, {"commands/sysctl.txt": "".join(lines)}))


def test_an_m1_lacks_i8mm(tmp_path: Path) -> None:
    """A feature that sysctl does not name is missing."""
    profile = mac(
        tmp_path,
        machdep__cpu__brand_string="Apple M1 Pro",
        hw__optional__arm64=1,
        hw__optional__arm__FEAT_DotProd=1,
        hw__optional__arm__FEAT_FP16=1,
        hw__nperflevels=2,
        hw__perflevel0__physicalcpu=8,
        hw__perflevel1__physicalcpu=2,
        hw__memsize=16 * GB,
        hw__model="MacBookPro18,1",
    )
    isa = ("neon", "dotprod", "fp16")
    assert [
        CpuClass(list(range(8)), None, None, "Apple M1 Pro performance", isa),
        CpuClass([8, 9], None, None, "Apple M1 Pro efficiency", isa),
    ] == profile.cpus
    assert profile.board
    assert "apple-m1-pro" == profile.board.family


def test_an_intel_mac_has_no_gpu_for_us(tmp_path: Path) -> None:
    """It has no neural engine either."""
    profile = mac(
        tmp_path,
        machdep__cpu__brand_string="Intel(R) Core(TM) i7-9750H CPU @ 2.60GHz",
        machdep__cpu__features="FPU VME SSE4.2 FMA AVX1.0 F16C",
        machdep__cpu__leaf7_features="RDWRFSGS AVX2 BMI1",
        hw__physicalcpu=6,
        hw__memsize=16 * GB,
        hw__model="MacBookPro15,1",
    )
    assert [CpuClass([0, 1, 2, 3, 4, 5], None, None, None, ("avx", "avx2", "fma", "f16c"))] == profile.cpus
    assert ((), None, None) == (profile.gpus, profile.npu, profile.board and profile.board.family)


@pytest.mark.parametrize(
    ("total", "mib"),
    [(8 * GB, 5461), (16 * GB, 10922), (32 * GB, 21845), (36 * GB, 27648), (64 * GB, 49152)],
)
def test_metal_takes_a_share_of_the_ram(total: int, mib: int) -> None:
    """These are Metal's recommendations on machines of these sizes."""
    limit = metal_limit(total, None)
    assert limit is not None
    assert mib == limit // MIB


def test_the_owner_may_set_metals_share(tmp_path: Path) -> None:
    """The command is sudo sysctl iogpu.wired_limit_mb=..."""
    facts = {"machdep__cpu__brand_string": "Apple M4", "hw__memsize": 16 * GB}
    (gpu,) = mac(tmp_path, **facts, iogpu__wired_limit_mb=14336).gpus
    assert 14 * GB == gpu.memory


def test_little_is_known_of_a_mac_that_tells_little(tmp_path: Path) -> None:
    """No fact is invented."""
    profile = mac(tmp_path, kern__ostype="Darwin")
    assert ([], None, (), "darwin") == (profile.cpus, profile.memory.total, profile.gpus, profile.system.os)


@given(st.text(max_size=200))
def test_any_text_of_vm_stat_is_survived(text: str) -> None:
    """Texts with a valid page size are included."""
    assert parse_vm_stat(text) is None
    head = "Mach Virtual Memory Statistics: (page size of 16384 bytes)\n"
    assert parse_vm_stat(f"{head}Pages free: 2.\n{text}\n") is not None
