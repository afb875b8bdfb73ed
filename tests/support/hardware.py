"""Root directories of machines, written for a test."""

from __future__ import annotations

from pathlib import Path

GB = 1024**3


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pci(slot: str, kind: str, ids: str, driver: str | None = None) -> dict[str, str]:
    """A PCI device's uevent file, with class and ids in hexadecimal: "30000", "10DE:2504"."""
    text = f"PCI_CLASS={kind}\nPCI_ID={ids}\nPCI_SLOT_NAME={slot}\n"
    return {f"sys/bus/pci/devices/{slot}/uevent": (f"DRIVER={driver}\n" if driver else "") + text}


def device_tree(model: str, *compatible: str) -> dict[str, str]:
    words = "".join(f"{word}\0" for word in compatible)
    return {"proc/device-tree/model": f"{model}\0", "proc/device-tree/compatible": words}


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
