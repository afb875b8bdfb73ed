"""Limits of control groups, version 1 and 2, and what containers show of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.hardware import CpuClass, Memory, detect
from tests.support.hardware import GB, LAPTOP, PI4, write

CPU = "sys/devices/system/cpu"
V1 = "sys/fs/cgroup"


@pytest.mark.parametrize("kind", ["active_file", "inactive_file"])
def test_page_cache_is_free_in_version_2(kind: str, tmp_path: Path) -> None:
    """A model file that was read twice is active, and given back all the same."""
    files = {
        "sys/fs/cgroup/memory.max": f"{2 * GB}\n",
        "sys/fs/cgroup/memory.current": "1400000000\n",
        "sys/fs/cgroup/memory.stat": f"anon 100000000\n{kind} 1300000000\n",
    }
    assert 2 * GB - 100_000_000 == detect(write(tmp_path, LAPTOP | files)).memory.available


@pytest.mark.parametrize(("high", "limit"), [(f"{2 * GB}", 2 * GB), ("max", 3 * GB), (f"{8 * GB}", 3 * GB)])
def test_what_slows_a_group_down_is_a_limit(high: str, limit: int, tmp_path: Path) -> None:
    """MemoryHigh of a unit: a model beyond it would be read from the disk again and again."""
    files = {
        "proc/self/cgroup": "0::/system.slice/x.service\n",
        f"{V1}/system.slice/x.service/memory.max": f"{3 * GB}\n",
        f"{V1}/system.slice/x.service/memory.high": f"{high}\n",
        f"{V1}/system.slice/x.service/memory.current": f"{GB // 4}\n",
    }
    memory = detect(write(tmp_path, LAPTOP | files)).memory
    assert (limit, limit - GB // 4) == (memory.limit, memory.available)


@pytest.mark.parametrize("kind", ["total_active_file", "total_inactive_file", "inactive_file"])
def test_page_cache_is_free_in_version_1(kind: str, tmp_path: Path) -> None:
    """The sums with the groups below count, where there are any."""
    files = {
        f"{V1}/memory/memory.limit_in_bytes": f"{2 * GB}\n",
        f"{V1}/memory/memory.usage_in_bytes": "1400000000\n",
        f"{V1}/memory/memory.stat": f"cache 1300000000\n{kind} 1300000000\n",
    }
    assert 2 * GB - 100_000_000 == detect(write(tmp_path, LAPTOP | files)).memory.available


OWN_SLICE = """12:memory:/system.slice/edgeinfer.service
5:cpu,cpuacct:/system.slice/edgeinfer.service
3:cpuset:/
1:name=systemd:/system.slice/edgeinfer.service
0::/system.slice/edgeinfer.service
"""


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1_limits_the_own_slice(mount: str, tmp_path: Path) -> None:
    """A Jetson with L4T 35, or Ubuntu 20.04, and a unit with MemoryMax and CPUQuota."""
    own = "system.slice/edgeinfer.service"
    files = {
        "proc/self/cgroup": OWN_SLICE,
        f"{V1}/memory/memory.limit_in_bytes": "9223372036854771712\n",
        f"{V1}/memory/{own}/memory.limit_in_bytes": f"{2 * GB}\n",
        f"{V1}/memory/{own}/memory.usage_in_bytes": f"{GB // 4}\n",
        f"{V1}/{mount}/{own}/cpu.cfs_quota_us": "100000\n",
        f"{V1}/{mount}/{own}/cpu.cfs_period_us": "100000\n",
    }
    profile = detect(write(tmp_path, LAPTOP | files))
    assert (2 * GB, 2 * GB - GB // 4, 1.0) == (
        profile.memory.limit,
        profile.memory.available,
        profile.cpu_quota,
    )


def test_a_container_of_version_1_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    """The path is that of the host, and "cpu" may be a link that a record holds as a file."""
    files = {
        "proc/self/cgroup": "11:memory:/docker/8c1f\n5:cpu,cpuacct:/docker/8c1f\n",
        f"{V1}/memory/memory.limit_in_bytes": f"{GB}\n",
        f"{V1}/memory/memory.usage_in_bytes": "0\n",
        f"{V1}/cpu": "cpu,cpuacct",
        f"{V1}/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
        f"{V1}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    profile = detect(write(tmp_path, LAPTOP | files))
    assert (2.0, GB) == (profile.cpu_quota, profile.memory.available)


def test_the_group_with_the_least_room_counts(tmp_path: Path) -> None:
    """A slice with a larger limit may be fuller, and version 1 tells limits above a container in memory.stat."""
    own = "sys/fs/cgroup/a.slice/b.service"
    files = {
        "proc/self/cgroup": "0::/a.slice/b.service\n",
        f"{own}/memory.max": f"{2 * GB}\n",
        f"{own}/memory.current": "0\n",
        "sys/fs/cgroup/a.slice/memory.max": f"{4 * GB}\n",
        "sys/fs/cgroup/a.slice/memory.current": f"{3 * GB}\n",
    }
    memory = detect(write(tmp_path / "slice", LAPTOP | files)).memory
    assert (2 * GB, GB) == (memory.limit, memory.available)
    hidden = {
        f"{V1}/memory/memory.limit_in_bytes": "9223372036854771712\n",
        f"{V1}/memory/memory.usage_in_bytes": "0\n",
        f"{V1}/memory/memory.stat": f"hierarchical_memory_limit {3 * GB}\n",
    }
    assert 3 * GB == detect(write(tmp_path / "hidden", LAPTOP | hidden)).memory.limit


def test_version_1_counts_swap_with_the_memory(tmp_path: Path) -> None:
    """The limit of both less that of the memory is left for swap."""
    files = {
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\nSwapTotal: 8000000 kB\n",
        f"{V1}/memory/memory.limit_in_bytes": f"{GB}\n",
        f"{V1}/memory/memory.memsw.limit_in_bytes": f"{GB + GB // 2}\n",
    }
    assert GB // 2 == detect(write(tmp_path, files)).memory.swap


def test_a_path_out_of_the_tree_is_not_followed(tmp_path: Path) -> None:
    """Only the root's limit counts then."""
    files = {
        "proc/self/cgroup": "4:memory:/../../x\n",
        f"{V1}/memory/memory.limit_in_bytes": f"{GB}\n",
    }
    assert GB == detect(write(tmp_path, LAPTOP | files)).memory.limit


def shown(*cpus: int, flags: str = "avx avx2") -> str:
    """A /proc/cpuinfo of x86 cores."""
    return "".join(f"processor\t: {cpu}\nmodel name\t: A CPU\nflags\t\t: {flags}\n\n" for cpu in cpus)


def host(count: int, threads: int = 2) -> dict[str, str]:
    """The topology of the machine around a container, with the threads of a core in a row."""
    return {
        f"{CPU}/cpu{i}/topology/thread_siblings_list": f"{i // threads * threads}-{i // threads * threads + threads - 1}\n"
        for i in range(count)
    }


@pytest.mark.parametrize(
    ("mask", "online", "cores"),
    [
        ("2,5,9,12", "0-3", [2, 5, 9, 12]),
        ("8-11", "0-3", [8, 10]),
        ("0-1,14-15", "0-3", [0, 14]),
        ("4-7", "0-15", [4, 6]),
    ],
    ids=["overlap", "apart", "two cores with two threads", "no lxcfs"],
)
def test_lxcfs_counts_cpus_from_0(mask: str, online: str, cores: list[int], tmp_path: Path) -> None:
    """The real numbers count, with the instruction sets of the CPUs that are shown in their place."""
    last = int(online.partition("-")[2])
    files = host(16) | {
        f"{CPU}/online": f"{online}\n",
        "proc/cpuinfo": shown(*range(last + 1)),
        "proc/self/status": f"Cpus_allowed_list:\t{mask}\n",
        "sys/fs/cgroup/cpuset.cpus.effective": f"{mask}\n",
    }
    assert [CpuClass(cores, None, None, None, ("avx", "avx2"))] == detect(write(tmp_path, files)).cpus


def test_lxcfs_may_count_in_proc_alone(tmp_path: Path) -> None:
    """Older ones leave /sys as it is; the instruction sets are known all the same."""
    files = host(16) | {
        f"{CPU}/online": "0-15\n",
        "proc/cpuinfo": shown(0, 1, 2, 3, flags="avx avx2 amx_tile amx_int8"),
        "sys/fs/cgroup/cpuset.cpus.effective": "2,5,9,12\n",
    }
    expected = CpuClass([2, 5, 9, 12], None, None, None, ("avx", "avx2", "amx"))
    assert [expected] == detect(write(tmp_path, files)).cpus


def test_lxcfs_shows_as_many_cpus_as_a_quota_allows(tmp_path: Path) -> None:
    """The cpuset has all 16; two cores are shown."""
    files = host(16) | {
        f"{CPU}/online": "0-1\n",
        "proc/cpuinfo": shown(0, 1),
        "sys/fs/cgroup/cpuset.cpus.effective": "0-15\n",
    }
    assert [[0, 2]] == [cores.cpus for cores in detect(write(tmp_path, files)).cpus]


def test_a_mask_of_cpus_that_could_be_plugged_in_is_no_limit(tmp_path: Path) -> None:
    """Some kernels allow all they could ever have: 0-63 on a Raspberry Pi."""
    files = PI4 | {"proc/self/status": "Cpus_allowed_list:\t0-63\n"}
    assert [[0, 1, 2, 3]] == [cores.cpus for cores in detect(write(tmp_path, files)).cpus]


@pytest.mark.parametrize(
    ("swaps", "swap"),
    [
        ("/dev/zram0 partition 2097152 0 100", 0),
        ("/dev/zram0 partition 1048576 0 100\n/swapfile file 1048576 0 -2", GB),
        ("/swapfile file 2097152 0 -2", 2 * GB),
        ("", 2 * GB),
    ],
    ids=["zram", "both", "file", "unknown"],
)
def test_compressed_memory_is_no_swap(swaps: str, swap: int, tmp_path: Path) -> None:
    """Swap in zram takes RAM itself."""
    files = {
        "proc/meminfo": "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\nSwapTotal: 2097152 kB\n",
        "proc/swaps": f"Filename\tType\tSize\tUsed\tPriority\n{swaps}\n",
    }
    assert Memory(4000000 * 1024, 3000000 * 1024, None, swap) == detect(write(tmp_path, files)).memory
