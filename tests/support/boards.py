"""Records of machines, put together from a few facts each."""

from __future__ import annotations

from tests.support.hardware import device_tree, pci

CPU = "sys/devices/system/cpu"

V8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32"
V8_2 = f"{V8} atomics fphp asimdhp asimddp"
V9 = f"{V8_2} i8mm bf16 sve"

SSE = "fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt"
AVX2 = f"{SSE} avx f16c fma avx2"
AVX_VNNI = f"{AVX2} avx_vnni"
AVX512 = f"{AVX2} avx512f avx512bw avx512cd avx512dq avx512vl avx512_vnni"
ZEN4 = f"{AVX512} avx512_bf16"

Files = dict[str, str]


def memory(gigabytes: float) -> Files:
    """RAM of which the system uses a little: more of it is free the larger it is."""
    total = round(gigabytes * 1e6 * 0.97)
    free = max(total - 1_500_000, round(total * 0.75))
    return {"proc/meminfo": f"MemTotal: {total} kB\nMemAvailable: {free} kB\nSwapTotal: 0 kB\n"}


def _core(cpu: int, mhz: int | None, siblings: str) -> Files:
    files = {f"{CPU}/cpu{cpu}/topology/thread_siblings_list": f"{siblings}\n"}
    if mhz:
        files[f"{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq"] = f"{mhz}000\n"
    return files


def arm(
    model: str, compatible: str, gigabytes: float, *clusters: tuple[int, int, int | None], features: str = V8
) -> Files:
    """A board; each cluster has the part number of its cores, their number and clock."""
    files = device_tree(model, *compatible.split()) if model else {}
    cpuinfo, cpu = "", 0
    for part, count, mhz in clusters:
        for _ in range(count):
            implementer, number = divmod(part, 0x10000)
            cpuinfo += f"processor\t: {cpu}\nFeatures\t: {features}\n"
            cpuinfo += f"CPU implementer\t: {implementer or 0x41:#x}\nCPU part\t: {number:#x}\n\n"
            files |= _core(cpu, mhz, str(cpu))
            cpu += 1
    files |= {"proc/cpuinfo": cpuinfo, f"{CPU}/online": f"0-{cpu - 1}\n", "commands/uname.txt": "aarch64\n"}
    return files | memory(gigabytes)


def riscv(model: str, compatible: str, gigabytes: float, cores: int, mhz: int, uarch: str, isa: str) -> Files:
    text = "".join(f"processor\t: {i}\nisa\t\t: {isa}\nuarch\t\t: {uarch}\n\n" for i in range(cores))
    files = device_tree(model, *compatible.split()) | memory(gigabytes)
    for cpu in range(cores):
        files |= _core(cpu, mhz, str(cpu))
    return files | {
        "proc/cpuinfo": text,
        f"{CPU}/online": f"0-{cores - 1}\n",
        "commands/uname.txt": "riscv64\n",
    }


def x86(
    name: str,
    flags: str,
    gigabytes: float,
    cores: int,
    mhz: int | None,
    *,
    threads: int = 2,
    sockets: int = 1,
) -> Files:
    """A PC or server; the second threads of all cores come last."""
    total = cores * threads
    text = "".join(f"processor\t: {i}\nmodel name\t: {name}\nflags\t\t: {flags}\n\n" for i in range(total))
    files = {"proc/cpuinfo": text, f"{CPU}/online": f"0-{total - 1}\n", "commands/uname.txt": "x86_64\n"}
    for cpu in range(total):
        core = cpu % cores
        files |= _core(cpu, mhz, ",".join(str(core + cores * i) for i in range(threads)))
        files[f"{CPU}/cpu{cpu}/topology/physical_package_id"] = f"{core * sockets // cores}\n"
    files |= {f"sys/devices/system/node/node{node}/cpulist": "\n" for node in range(sockets)}
    return files | memory(gigabytes)


def nvidia(name: str, mebibytes: int | None, compute: str, driver: str = "570.86") -> Files:
    size = f"{mebibytes} MiB, {round(mebibytes * 0.97)} MiB" if mebibytes else "[N/A], [N/A]"
    header = "name, memory.total [MiB], memory.free [MiB], compute_cap, driver_version"
    return {"commands/nvidia-smi.txt": f"{header}\n{name}, {size}, {compute}, {driver}\n"}


def radeon(device: str, vram: float, gtt: float = 0, bus: str = "0000:03:00.0") -> Files:
    """A Radeon with so many GB; `device` is its id."""
    directory = f"sys/bus/pci/devices/{bus}"
    sizes = {"vram_total": vram, "vram_used": 0.05, "gtt_total": gtt}
    files = {f"{directory}/mem_info_{key}": f"{round(size * 2**30)}\n" for key, size in sizes.items()}
    return pci(bus, "30000", f"1002:{device}", "amdgpu") | files | {"dev/dri/card0": ""}


def arc(device: str, gigabytes: int) -> Files:
    """An Intel card under i915, with its window resized."""
    end = 0x4000000000 + gigabytes * 2**30 - 1
    window = f"0x4000000000 {end:#x} 0x14220c\n"
    files = pci("0000:03:00.0", "30000", f"8086:{device}", "i915") | {"dev/dri/card0": ""}
    return files | {"sys/bus/pci/devices/0000:03:00.0/resource": "0x0 0x0 0x0\n0x0 0x0 0x0\n" + window}


def jetson(module: str, chip: str, release: str, gigabytes: float, part: int, cores: int, mhz: int) -> Files:
    files = arm(
        "NVIDIA Jetson", f"nvidia,{module} nvidia,{chip}", gigabytes, (part, cores, mhz), features=V8_2
    )
    major, _, minor = release.partition(".")
    return files | {
        "etc/nv_tegra_release": f"# R{major} (release), REVISION: {minor}, GCID: 1, BOARD: generic\n"
    }


def mac(chip: str, gigabytes: int, performance: int, efficiency: int) -> Files:
    facts = {
        "machdep.cpu.brand_string": f"Apple {chip}",
        "hw.model": "Mac1,1",
        "hw.memsize": gigabytes * 2**30,
        "hw.nperflevels": 2,
        "hw.perflevel0.physicalcpu": performance,
        "hw.perflevel1.physicalcpu": efficiency,
        "hw.pagesize": 16384,
        "hw.optional.arm64": 1,
        "hw.optional.arm.FEAT_DotProd": 1,
    }
    free = f"Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free: {gigabytes * 40000}.\n"
    sysctl = "".join(f"{key}: {value}\n" for key, value in facts.items())
    return {"commands/sysctl.txt": sysctl, "commands/vm_stat.txt": free, "commands/uname.txt": "arm64\n"}
