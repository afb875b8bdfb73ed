"""Reads instruction sets and names of cores from /proc/cpuinfo."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.hardware.root_files import label, number, read_text

FLAGS: dict[str, tuple[str, ...]] = {
    "avx": ("avx",),
    "avx2": ("avx2",),
    "fma": ("fma",),
    "f16c": ("f16c",),
    "avx512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),  # what GGML_AVX512 is compiled for
    "vnni": ("avx512_vnni",),
    "avx-vnni": ("avx_vnni",),
    "bf16": ("avx512_bf16",),
    "amx": ("amx_tile", "amx_int8"),
}
"""Our name -> the x86 flags that it requires."""

FEATURES: dict[str, tuple[str, ...]] = {
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "fp16": ("fphp", "asimdhp"),
    "i8mm": ("i8mm",),
    "sve": ("sve",),
    "bf16": ("bf16",),
}
"""Our name -> the features of a 64-bit ARM core that it requires."""

CORES: dict[tuple[int, int], str] = {
    (0x41, 0xD02): "Cortex-A34",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD06): "Cortex-A65",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD0E): "Cortex-A76AE",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD43): "Cortex-A65AE",
    (0x41, 0xD44): "Cortex-X1",
    (0x41, 0xD46): "Cortex-A510",
    (0x41, 0xD47): "Cortex-A710",
    (0x41, 0xD48): "Cortex-X2",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4A): "Neoverse-E1",
    (0x41, 0xD4B): "Cortex-A78C",
    (0x41, 0xD4C): "Cortex-X1C",
    (0x41, 0xD4D): "Cortex-A715",
    (0x41, 0xD4E): "Cortex-X3",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD80): "Cortex-A520",
    (0x41, 0xD81): "Cortex-A720",
    (0x41, 0xD82): "Cortex-X4",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x41, 0xD84): "Neoverse-V3",
    (0x41, 0xD85): "Cortex-X925",
    (0x41, 0xD87): "Cortex-A725",
    (0x41, 0xD88): "Cortex-A520AE",
    (0x41, 0xD89): "Cortex-A720AE",
    (0x41, 0xD8A): "C1-Nano",
    (0x41, 0xD8B): "C1-Pro",
    (0x41, 0xD8C): "C1-Ultra",
    (0x41, 0xD8E): "Neoverse-N3",
    (0x41, 0xD8F): "Cortex-A320",
    (0x41, 0xD90): "C1-Premium",
    (0x46, 0x001): "A64FX",
    (0x48, 0xD01): "Kunpeng-920",
    (0x48, 0xD40): "Cortex-A76",  # in a Kirin 980
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
    (0x4E, 0x010): "Olympus",
    (0x51, 0x001): "Oryon",
    (0x51, 0x802): "Kryo-3XX-Gold",
    (0x51, 0x803): "Kryo-3XX-Silver",
    (0x51, 0x804): "Kryo-4XX-Gold",
    (0x51, 0x805): "Kryo-4XX-Silver",
    (0x61, 0x000): "Apple",  # in a virtual machine on a Mac
    (0x61, 0x022): "Icestorm",
    (0x61, 0x023): "Firestorm",
    (0x61, 0x024): "Icestorm",
    (0x61, 0x025): "Firestorm",
    (0x61, 0x028): "Icestorm",
    (0x61, 0x029): "Firestorm",
    (0x61, 0x032): "Blizzard",
    (0x61, 0x033): "Avalanche",
    (0x61, 0x034): "Blizzard",
    (0x61, 0x035): "Avalanche",
    (0x61, 0x038): "Blizzard",
    (0x61, 0x039): "Avalanche",
    (0x6D, 0xD49): "Neoverse-N2",  # Microsoft's Cobalt 100
    (0x70, 0x303): "FTC310",
    (0x70, 0x662): "FTC662",
    (0x70, 0x663): "FTC663",
    (0x70, 0x664): "FTC664",
    (0x70, 0x862): "FTC862",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
}
"""(implementer, part) of an ARM core -> its name, from the manuals of Arm and the makers, and from lscpu."""

RISCV_CORES = {
    "sifive,u74": "SiFive U74",
    "sifive,u74-mc": "SiFive U74",
    "sifive,p550": "SiFive P550",
    "eswin,p550": "SiFive P550",
    "spacemit,x60": "SpacemiT X60",
    "thead,c910": "T-Head C910",
    "thead,c920": "T-Head C920",
}
"""Name of a RISC-V core in /proc/cpuinfo -> ours."""

LITTLE_CORES = frozenset(
    ("Cortex-A34", "Cortex-A35", "Cortex-A53", "Cortex-A55", "Cortex-A510", "Cortex-A520", "Cortex-A520AE", "C1-Nano",
     "Kryo-3XX-Silver", "Kryo-4XX-Silver", "FTC310", "Icestorm", "Blizzard")
)  # fmt: skip
"""Cores that are the slow ones wherever there are others."""


def cpuinfo(root: Path) -> dict[int, dict[str, str]]:
    """Return the fields of /proc/cpuinfo by logical CPU.

    ARM kernels before 3.19 list the CPUs first and then, once, what is the same for all of them.
    """
    cpus: dict[int, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if name == "processor" and (cpu := number(value)) is not None:
            fields = cpus.setdefault(cpu, {})
        fields.setdefault(name, value)
    listed = [cpu for cpu, own in cpus.items() if own.keys() <= {"processor", ""}]
    return {cpu: fields if cpu in listed and "Features" in fields else own for cpu, own in cpus.items()}


def model_name(fields: dict[str, str]) -> str | None:
    """Return the name of an x86 processor. ARM kernels only write "ARMv8 Processor rev 1 (v8l)" there."""
    return label(fields.get("model name")) if "flags" in fields else None


def core_name(fields: dict[str, str]) -> str | None:
    """Return the name of an ARM or RISC-V core."""
    if "isa" in fields:
        return RISCV_CORES.get(fields.get("uarch", "")) or _named_riscv(fields.get("model name", ""))
    return CORES.get((_hex(fields.get("CPU implementer")), _hex(fields.get("CPU part"))))


def _named_riscv(name: str) -> str | None:
    """Return our name for a core by the vendor kernel's, such as "Spacemit(R) X60"."""
    return next((core for core in RISCV_CORES.values() if core.split()[-1] in name.split()), None)


def instruction_sets(fields: dict[str, str]) -> tuple[str, ...] | None:
    """Return our names of a core's instruction sets; None if unknown."""
    if "flags" in fields:
        return _known(FLAGS, fields["flags"])
    if fields.get("isa", "").startswith("rv64"):
        letters = fields["isa"].removeprefix("rv64").partition("_")[0]
        return ("rv64", "rvv") if "v" in letters else ("rv64",)
    return _known(FEATURES, fields["Features"]) if "Features" in fields else None


def _known(words: dict[str, tuple[str, ...]], text: str) -> tuple[str, ...]:
    flags = frozenset(text.split())
    return tuple(word for word, needed in words.items() if flags.issuperset(needed))


def _hex(text: str | None) -> int:
    try:
        return int(text or "", 16)
    except ValueError:
        return -1
