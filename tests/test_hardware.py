from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.hardware import HardwareProfile, detect
from edgeinfer.hardware.cpu import CpuClass, parse_list
from edgeinfer.hardware.memory import Memory, parse_meminfo

GB = 1024**3

RK3588 = {
    "sys/devices/system/cpu/online": "0-7\n",
    **{f"sys/devices/system/cpu/cpu{i}/cpu_capacity": "530\n" if i < 4 else "1024\n" for i in range(8)},
    **{
        f"sys/devices/system/cpu/cpu{i}/cpufreq/cpuinfo_max_freq": "1800000\n" if i < 4 else "2400000\n"
        for i in range(8)
    },
    **{f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i}\n" for i in range(8)},
    "proc/meminfo": "MemTotal:        8127544 kB\nMemFree:          219832 kB\nMemAvailable:    6291456 kB\n",
}
PI4 = {
    "sys/devices/system/cpu/online": "0-3\n",
    **{f"sys/devices/system/cpu/cpu{i}/cpufreq/cpuinfo_max_freq": "1800000\n" for i in range(4)},
    **{f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i}\n" for i in range(4)},
    "proc/meminfo": "MemTotal:        3884384 kB\nMemFree:          123456 kB\nMemAvailable:    3145728 kB\n",
}
LAPTOP = {
    "sys/devices/system/cpu/online": "0-7\n",
    **{f"sys/devices/system/cpu/cpu{i}/cpufreq/cpuinfo_max_freq": "4200000\n" for i in range(8)},
    # The second threads come after all first ones, as Intel numbers them.
    **{
        f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i % 4},{i % 4 + 4}\n"
        for i in range(8)
    },
    "proc/meminfo": "MemTotal:       16318448 kB\nMemAvailable:   12582912 kB\nHugePages_Total:       3\n",
}
CONTAINER = LAPTOP | {
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": f"{2 * GB}\n",
    "sys/fs/cgroup/memory.current": f"{GB // 2}\n",
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_an_rk3588_has_four_fast_cores_and_four_slow_ones(tmp_path: Path) -> None:
    """big.LITTLE: fastest first."""
    found = detect(write(tmp_path, RK3588))
    assert [CpuClass([4, 5, 6, 7], 1024, 2400), CpuClass([0, 1, 2, 3], 530, 1800)] == found.cpus
    assert Memory(8127544 * 1024, 6 * GB, None) == found.memory
    assert found.cpu_quota is None


def mhz(cpus: dict[int, int]) -> dict[str, str]:
    return {
        f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq": f"{mhz}000\n"
        for cpu, mhz in cpus.items()
    }


def test_fast_clusters_that_were_binned_apart_are_of_a_kind(tmp_path: Path) -> None:
    """An Orange Pi 5, say, has two A76 at 2256 and two at 2304 MHz."""
    files = RK3588 | mhz({4: 2256, 5: 2256, 6: 2304, 7: 2304})
    found = detect(write(tmp_path, files)).cpus
    assert [[4, 5, 6, 7], [0, 1, 2, 3]] == [sorted(c.cpus) for c in found]
    assert [2304, 1800] == [c.max_mhz for c in found]


def test_favoured_cores_do_not_hide_the_others(tmp_path: Path) -> None:
    """Turbo Boost Max lets two of four go a little higher."""
    found = detect(write(tmp_path, LAPTOP | mhz({1: 4400, 2: 4400}))).cpus
    assert [[0, 1, 2, 3]] == [sorted(c.cpus) for c in found]


def test_a_raspberry_pi_has_four_cores_of_a_kind(tmp_path: Path) -> None:
    """And no capacities, since there is nothing to compare."""
    assert [CpuClass([0, 1, 2, 3], None, 1800)] == detect(write(tmp_path, PI4)).cpus


def test_second_threads_of_a_core_are_no_cores(tmp_path: Path) -> None:
    """A laptop with four cores and eight threads has four."""
    assert [CpuClass([0, 1, 2, 3], None, 4200)] == detect(write(tmp_path, LAPTOP)).cpus


def test_second_threads_are_known_by_ranges_too(tmp_path: Path) -> None:
    """As AMD and virtual machines number them: neighbours."""
    files = {
        f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{i & ~1}-{i | 1}" for i in range(8)
    }
    assert [[0, 2, 4, 6]] == [c.cpus for c in detect(write(tmp_path, LAPTOP | files)).cpus]


def test_offline_cpus_do_not_count(tmp_path: Path) -> None:
    """Their directories are there all the same."""
    files = PI4 | {"sys/devices/system/cpu/online": "0,2-3\n"}
    assert [[0, 2, 3]] == [c.cpus for c in detect(write(tmp_path, files)).cpus]


def test_a_cgroup_limits_cpus_and_memory(tmp_path: Path) -> None:
    """What is available is what the limit leaves."""
    found = detect(write(tmp_path, CONTAINER))
    assert 1.5 == found.cpu_quota
    assert Memory(16318448 * 1024, 2 * GB - GB // 2, 2 * GB) == found.memory


def test_cgroup_v1_limits_too(tmp_path: Path) -> None:
    """Under its own names."""
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "0\n",
    }
    found = detect(write(tmp_path, LAPTOP | files))
    assert (0.5, GB, GB) == (found.cpu_quota, found.memory.limit, found.memory.available)


def test_the_limits_of_a_systemd_service_count(tmp_path: Path) -> None:
    """They stand in its own group, and the tightest on the way to the root is what holds."""
    files = PI4 | {
        "proc/self/cgroup": "0::/system.slice/edgeinfer.service\n",
        "sys/fs/cgroup/system.slice/cpu.max": "300000 100000\n",
        "sys/fs/cgroup/system.slice/memory.max": "max\n",
        "sys/fs/cgroup/system.slice/edgeinfer.service/cpu.max": "200000 100000\n",
        "sys/fs/cgroup/system.slice/edgeinfer.service/memory.max": f"{GB}\n",
    }
    found = detect(write(tmp_path, files))
    assert (2.0, GB) == (found.cpu_quota, found.memory.limit)


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
    found = detect(write(tmp_path, LAPTOP | files))
    assert (None, None) == (found.cpu_quota, found.memory.limit)
    assert 12 * GB == found.memory.available


def test_a_limit_that_is_used_up_leaves_nothing(tmp_path: Path) -> None:
    """And not less than nothing."""
    files = CONTAINER | {"sys/fs/cgroup/memory.current": f"{3 * GB}\n"}
    assert 0 == detect(write(tmp_path, files)).memory.available


def test_what_is_not_known_is_none(tmp_path: Path) -> None:
    """Nothing is invented."""
    assert HardwareProfile([], None, Memory(None, None, None)) == detect(tmp_path)


def test_what_is_known_in_part_is_told_in_part(tmp_path: Path) -> None:
    """A container may hide the frequencies, an old kernel MemAvailable."""
    files = {"sys/devices/system/cpu/online": "0-1", "proc/meminfo": "MemTotal: 1024 kB\n"}
    found = detect(write(tmp_path, files))
    assert [CpuClass([0, 1], None, None)] == found.cpus
    assert Memory(1024 * 1024, None, None) == found.memory


def test_this_machine_is_described() -> None:
    """Whatever it is: it has a core, and memory."""
    found = detect()
    assert found.cpus
    assert found.cpus[0].cpus
    assert found.memory.total


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3,8", [0, 1, 2, 3, 8]), ("5\n", [5]), ("", []), ("0,2,4-5", [0, 2, 4, 5]), ("10-10", [10])],
)
def test_lists_are_read_as_linux_writes_them(text: str, expected: list[int]) -> None:
    """Ranges and single numbers."""
    assert expected == parse_list(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("garbage", []), ("0,x,3", [0, 3]), ("1-x,-2", []), ("8191-99999999999", [8191, 8192])],
)
def test_what_is_no_list_is_left_out(text: str, expected: list[int], tmp_path: Path) -> None:
    """And nobody claims more CPUs than Linux can have."""
    files = {"sys/devices/system/cpu/online": text}
    assert expected == [cpu for c in detect(write(tmp_path, files)).cpus for cpu in c.cpus]


@given(st.sets(st.integers(0, 300)))
def test_any_set_of_cpus_makes_a_round_trip(cpus: set[int]) -> None:
    """One by one, which is as good as ranges."""
    assert sorted(cpus) == parse_list(",".join(map(str, sorted(cpus))))


@given(st.text(max_size=200))
def test_any_text_is_a_meminfo_without_a_crash(text: str) -> None:
    """It comes from a file that somebody else writes."""
    assert all(value >= 0 for value in parse_meminfo(text).values())
