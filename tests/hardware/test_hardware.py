"""Detection of cores, memory and control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.hardware.cpu import CpuClass
from edgeinfer.hardware.memory import Memory, parse_meminfo
from edgeinfer.hardware.root_files import parse_list
from tests.support.hardware import CONTAINER, LAPTOP, PI4, RK3588, write

GB = 1024**3
CPU = "sys/devices/system/cpu"


def test_an_rk3588_has_four_fast_cores_and_four_slow_ones(tmp_path: Path) -> None:
    """The fast class comes first."""
    profile = detect(write(tmp_path, RK3588))
    assert [CpuClass([4, 5, 6, 7], 1024, 2400), CpuClass([0, 1, 2, 3], 530, 1800)] == profile.cpus
    assert Memory(8127544 * 1024, 6 * GB, None) == profile.memory
    assert profile.cpu_quota is None


def mhz(cpus: dict[int, int]) -> dict[str, str]:
    return {
        f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq": f"{mhz}000\n"
        for cpu, mhz in cpus.items()
    }


def test_fast_clusters_that_were_binned_apart_are_of_a_kind(tmp_path: Path) -> None:
    """An Orange Pi 5 may have two A76 at 2256 and two at 2304 MHz."""
    files = RK3588 | mhz({4: 2256, 5: 2256, 6: 2304, 7: 2304})
    cores = detect(write(tmp_path, files)).cpus
    assert [[4, 5, 6, 7], [0, 1, 2, 3]] == [sorted(c.cpus) for c in cores]
    assert [2304, 1800] == [c.max_mhz for c in cores]


def test_favoured_cores_do_not_hide_the_others(tmp_path: Path) -> None:
    """Turbo Boost Max lets two of four cores clock slightly higher."""
    cores = detect(write(tmp_path, LAPTOP | mhz({1: 4400, 2: 4400}))).cpus
    assert [[0, 1, 2, 3]] == [sorted(c.cpus) for c in cores]


def test_cores_of_a_kind_may_be_ranked(tmp_path: Path) -> None:
    """Some kernels report an AMD's favoured cores as much faster, but in small steps."""
    ranked = [5200, 5000, 4800, 4600, 4400, 4200, 4000, 3800]
    files = {f"{CPU}/cpu{i}/topology/thread_siblings_list": f"{i}\n" for i in range(8)}
    cores = detect(write(tmp_path, LAPTOP | mhz(dict(enumerate(ranked))) | files)).cpus
    assert [CpuClass([0, 1, 2, 3, 4, 5, 6, 7], None, 5200)] == cores


def test_compact_cores_are_slower_ones(tmp_path: Path) -> None:
    """A Ryzen AI 9 HX 370 has four Zen 5 and eight Zen 5c cores; this machine has half of them."""
    cores = detect(write(tmp_path, LAPTOP | mhz({0: 5157, 1: 5157, 2: 3310, 3: 3310}))).cpus
    assert [([0, 1], 5157), ([2, 3], 3310)] == [(c.cpus, c.max_mhz) for c in cores]


def test_a_hybrid_processor_may_have_three_kinds(tmp_path: Path) -> None:
    """A Core Ultra 7 155H lists its slowest cores with the efficient ones, or in a newer kernel apart."""
    files = mhz({0: 4800, 1: 3800, 2: 3800, 3: 2500}) | {
        "sys/devices/cpu_core/cpus": "0,4\n",
        "sys/devices/cpu_atom/cpus": "1-3\n",
    }
    cores = detect(write(tmp_path, LAPTOP | files)).cpus
    assert [("P-core", [0]), ("E-core", [1, 2]), ("E-core", [3])] == [(c.name, c.cpus) for c in cores]
    cores = detect(write(tmp_path, {"sys/devices/cpu_lowpower/cpus": "3\n"})).cpus
    assert [("P-core", [0]), ("E-core", [1, 2]), ("LP E-core", [3])] == [(c.name, c.cpus) for c in cores]


def arm(*parts: int, features: str = "fp asimd") -> dict[str, str]:
    """A /proc/cpuinfo of cores with these part numbers."""
    blocks = [
        f"processor\t: {cpu}\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU part\t: {part:#x}\n\n"
        for cpu, part in enumerate(parts)
    ]
    return {"proc/cpuinfo": "".join(blocks), f"{CPU}/online": f"0-{len(parts) - 1}\n"}


def test_cores_are_told_apart_by_name_alone(tmp_path: Path) -> None:
    """A virtual machine has neither capacities nor frequencies."""
    cores = detect(write(tmp_path, arm(0xD05, 0xD05, 0xD0B))).cpus
    assert [("Cortex-A76", [2]), ("Cortex-A55", [0, 1])] == [(c.name, c.cpus) for c in cores]


def test_unknown_cores_have_no_name(tmp_path: Path) -> None:
    """Their instruction sets are known all the same."""
    profile = detect(
        write(tmp_path, arm(0xFFF, features="fp asimd asimdhp fphp asimddp i8mm bf16 sve sve2"))
    ).cpus
    assert [CpuClass([0], None, None, None, ("neon", "dotprod", "fp16", "i8mm", "sve", "bf16"))] == profile


def test_a_processor_without_avx_has_none(tmp_path: Path) -> None:
    """An empty list is not the same as unknown."""
    text = (
        "processor\t: 0\nmodel name\t: Intel(R) Celeron(R) J4125 CPU @ 2.00GHz\nflags\t\t: fpu sse4_2 aes\n"
    )
    profile = detect(write(tmp_path, {"proc/cpuinfo": text, f"{CPU}/online": "0\n"}))
    assert ("Intel(R) Celeron(R) J4125 CPU @ 2.00GHz", ()) == (profile.cpu_name, profile.cpus[0].isa)


def test_only_whole_sets_of_avx512_count(tmp_path: Path) -> None:
    """llama.cpp is compiled for five of its parts at once; a Xeon Phi has two."""
    text = "processor\t: 0\nmodel name\t: Xeon Phi\nflags\t\t: avx avx2 avx512f avx512cd\n"
    profile = detect(write(tmp_path, {"proc/cpuinfo": text, f"{CPU}/online": "0\n"}))
    assert ("avx", "avx2") == profile.cpus[0].isa


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/status": "Name:\tcat\nCpus_allowed:\t30\nCpus_allowed_list:\t4-5\n"},
        {"sys/fs/cgroup/cpuset.cpus.effective": "4-5\n"},
        {"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpuset.cpus.effective": "4-5\n"},
        {"sys/fs/cgroup/cpuset/cpuset.effective_cpus": "4-5\n"},
        {"proc/self/status": "Cpus_allowed_list:\t0-5\n", "sys/fs/cgroup/cpuset.cpus.effective": "4-7\n"},
    ],
    ids=["affinity", "v2", "own group", "v1", "both"],
)
def test_only_cpus_that_may_be_used_count(files: dict[str, str], tmp_path: Path) -> None:
    """Affinity mask and cpuset both limit them."""
    assert [[4, 5]] == [c.cpus for c in detect(write(tmp_path, RK3588 | files)).cpus]


def test_a_container_may_be_shown_other_numbers(tmp_path: Path) -> None:
    """lxcfs counts its CPUs from 0, the affinity mask does not."""
    files = {f"{CPU}/online": "0-1\n", "proc/self/status": "Cpus_allowed_list:\t6-7\n"}
    assert [CpuClass([6, 7], None, None)] == detect(write(tmp_path, files)).cpus


def test_the_own_affinity_counts_here() -> None:
    """taskset sets it."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("macOS has no affinity")
    mask = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {max(mask)})
        assert [[max(mask)]] == [c.cpus for c in detect().cpus]
    finally:
        os.sched_setaffinity(0, mask)


def test_swap_is_bounded_by_the_control_group(tmp_path: Path) -> None:
    """A container often has none."""
    files = {"proc/meminfo": "MemTotal: 4 kB\nSwapTotal: 2097152 kB\n"}
    assert 2 * GB == detect(write(tmp_path, files)).memory.swap
    assert 0 == detect(write(tmp_path, {"sys/fs/cgroup/memory.swap.max": "0\n"})).memory.swap


def test_a_raspberry_pi_has_four_cores_of_a_kind(tmp_path: Path) -> None:
    """They have no capacities, since there is nothing to compare."""
    assert [CpuClass([0, 1, 2, 3], None, 1800)] == detect(write(tmp_path, PI4)).cpus


def test_second_threads_of_a_core_are_no_cores(tmp_path: Path) -> None:
    """A laptop with four cores and eight threads has four cores."""
    assert [CpuClass([0, 1, 2, 3], None, 4200)] == detect(write(tmp_path, LAPTOP)).cpus


def test_second_threads_are_known_by_ranges_too(tmp_path: Path) -> None:
    """AMD and virtual machines number siblings consecutively."""
    files = {
        f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i & ~1}-{i | 1}" for i in range(8)
    }
    assert [[0, 2, 4, 6]] == [c.cpus for c in detect(write(tmp_path, LAPTOP | files)).cpus]


def test_offline_cpus_do_not_count(tmp_path: Path) -> None:
    """Their directories exist all the same."""
    files = PI4 | {"sys/devices/system/cpu/online": "0,2-3\n"}
    assert [[0, 2, 3]] == [c.cpus for c in detect(write(tmp_path, files)).cpus]


def test_a_cgroup_limits_cpus_and_memory(tmp_path: Path) -> None:
    """Available memory is what the limit leaves."""
    profile = detect(write(tmp_path, CONTAINER))
    assert 1.5 == profile.cpu_quota
    assert Memory(16318448 * 1024, 2 * GB - GB // 2, 2 * GB) == profile.memory


def test_cgroup_v1_limits_too(tmp_path: Path) -> None:
    """Its files have other names."""
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "0\n",
    }
    profile = detect(write(tmp_path, LAPTOP | files))
    assert (0.5, GB, GB) == (profile.cpu_quota, profile.memory.limit, profile.memory.available)


def test_the_limits_of_a_systemd_service_count(tmp_path: Path) -> None:
    """They are in its own group, and the tightest limit up to the root counts."""
    files = PI4 | {
        "proc/self/cgroup": "0::/system.slice/edgeinfer.service\n",
        "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
        "sys/fs/cgroup/system.slice/memory.max": "max\n",
        "sys/fs/cgroup/system.slice/edgeinfer.service/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/system.slice/edgeinfer.service/memory.max": f"{GB}\n",
    }
    profile = detect(write(tmp_path, files))
    assert (2.0, GB) == (profile.cpu_quota, profile.memory.limit)


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"},
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    ],
    ids=["v2", "v1"],
)
def test_a_cgroup_without_limits_is_none(files: dict[str, str], tmp_path: Path) -> None:
    """v2 says "max", v1 says -1 and a huge number."""
    profile = detect(write(tmp_path, LAPTOP | files))
    assert (None, None) == (profile.cpu_quota, profile.memory.limit)
    assert 12 * GB == profile.memory.available


def test_a_limit_that_is_used_up_leaves_nothing(tmp_path: Path) -> None:
    """The rest is never negative."""
    files = CONTAINER | {"sys/fs/cgroup/memory.current": f"{3 * GB}\n"}
    assert 0 == detect(write(tmp_path, files)).memory.available


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    """No fact is invented."""
    assert HardwareProfile([], None, Memory(None, None, None)) == detect(tmp_path)


def test_what_is_known_in_part_is_told_in_part(tmp_path: Path) -> None:
    """A container may hide the frequencies, an old kernel MemAvailable."""
    files = {"sys/devices/system/cpu/online": "0-1", "proc/meminfo": "MemTotal: 1024 kB\n"}
    profile = detect(write(tmp_path, files))
    assert [CpuClass([0, 1], None, None)] == profile.cpus
    assert Memory(1024 * 1024, None, None) == profile.memory


def test_this_machine_is_described() -> None:
    """Any machine has a core and memory."""
    profile = detect()
    assert profile.cpus
    assert profile.cpus[0].cpus
    assert profile.memory.total


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3,8", [0, 1, 2, 3, 8]), ("5\n", [5]), ("", []), ("0,2,4-5", [0, 2, 4, 5]), ("10-10", [10])],
)
def test_lists_are_read_as_linux_writes_them(text: str, expected: list[int]) -> None:
    """They have ranges and single numbers."""
    assert expected == parse_list(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("garbage", []), ("0,x,3", [0, 3]), ("1-x,-2", []), ("8191-99999999999", [8191, 8192])],
)
def test_what_is_no_list_is_left_out(text: str, expected: list[int], tmp_path: Path) -> None:
    """The number of CPUs is limited to what Linux supports."""
    files = {"sys/devices/system/cpu/online": text}
    assert expected == [cpu for c in detect(write(tmp_path, files)).cpus for cpu in c.cpus]


@given(st.sets(st.integers(0, 300)))
def test_any_set_of_cpus_makes_a_round_trip(cpus: set[int]) -> None:
    """Single numbers are as good as ranges."""
    assert sorted(cpus) == parse_list(",".join(map(str, sorted(cpus))))


@given(st.text(max_size=200))
def test_any_text_is_a_meminfo_without_a_crash(text: str) -> None:
    """The file may contain anything."""
    assert all(value >= 0 for value in parse_meminfo(text).values())
