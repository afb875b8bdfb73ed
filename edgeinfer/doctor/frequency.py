"""The frequency that the CPU may reach: its governor and its limit."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware.root_files import entries, read_int, read_label

CHECK = "frequency"

SELF_GOVERNING = ("intel_pstate", "amd-pstate-epp")
"""Drivers that raise the frequency under load even with the governor powersave."""

MIN_ALLOWED = 0.9
"""Share of the CPU's highest frequency that it should be allowed."""

SET = "echo {} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/{}"


class CpuFrequency(msgspec.Struct, frozen=True):
    """The governor of one CPU, and its highest allowed and possible frequency in kHz."""

    cpu: int
    governor: str | None
    driver: str | None
    allowed: int | None
    highest: int | None


def cpu_frequencies(root: Path) -> list[CpuFrequency]:
    cpus = []
    for path in entries(root / "sys/devices/system/cpu"):
        name, cpufreq = re.fullmatch(r"cpu(\d+)", path.name), path / "cpufreq"
        if name:
            cpus.append(
                CpuFrequency(
                    cpu=int(name[1]),
                    governor=read_label(cpufreq / "scaling_governor"),
                    driver=read_label(cpufreq / "scaling_driver"),
                    allowed=read_int(cpufreq / "scaling_max_freq"),
                    highest=read_int(cpufreq / "cpuinfo_max_freq"),
                )
            )
    return sorted(cpus, key=lambda cpu: cpu.cpu)


def check_frequency(cpus: list[CpuFrequency]) -> list[Finding]:
    """Check that the CPUs may run fast; no finding if nothing is known, as in a virtual machine."""
    slow = [cpu for cpu in cpus if cpu.governor == "powersave" and cpu.driver not in SELF_GOVERNING]
    if slow:
        text = f"the governor powersave keeps {_names(slow)} at the lowest frequency"
        return [Finding(CHECK, "warning", text, SET.format("schedutil", "scaling_governor"))]
    capped = [c for c in cpus if c.allowed and c.highest and c.allowed < MIN_ALLOWED * c.highest]
    if capped:
        first = capped[0]
        text = (
            f"{_names(capped)} may run at no more than {first.allowed or 0:,} of {first.highest or 0:,} kHz"
        )
        return [Finding(CHECK, "note", text, SET.format(first.highest, "scaling_max_freq"))]
    governors = sorted({cpu.governor for cpu in cpus if cpu.governor})
    return [Finding(CHECK, "ok", f"governor {', '.join(governors)}")] if governors else []


def _names(cpus: list[CpuFrequency]) -> str:
    if len(cpus) == 1:
        return f"CPU {cpus[0].cpu}"
    return f"CPUs {', '.join(str(cpu.cpu) for cpu in cpus[:8])}" + (" and others" if len(cpus) > 8 else "")
