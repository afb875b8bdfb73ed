"""How fast the CPU may run: its governor."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edgeinfer.doctor.finding import Finding
from edgeinfer.hardware.root_files import entries, read_int, read_label

CHECK = "frequency"

OF_THEIR_OWN = ("intel_pstate", "amd-pstate-epp")
"""Drivers that raise the frequency under load whatever their powersave says."""

LEAST = 0.9
"""Of the CPU's own highest frequency, that it should be allowed."""

SET = "echo {} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/{}"


class Frequency(msgspec.Struct, frozen=True):
    """Of one CPU. `allowed` and `most` in kHz."""

    cpu: int
    governor: str | None
    driver: str | None
    allowed: int | None
    most: int | None


def frequencies(root: Path) -> list[Frequency]:
    found = []
    for path in entries(root / "sys/devices/system/cpu"):
        name, cpufreq = re.fullmatch(r"cpu(\d+)", path.name), path / "cpufreq"
        if name:
            found.append(
                Frequency(
                    cpu=int(name[1]),
                    governor=read_label(cpufreq / "scaling_governor"),
                    driver=read_label(cpufreq / "scaling_driver"),
                    allowed=read_int(cpufreq / "scaling_max_freq"),
                    most=read_int(cpufreq / "cpuinfo_max_freq"),
                )
            )
    return sorted(found, key=lambda found: found.cpu)


def frequency(cpus: list[Frequency]) -> list[Finding]:
    """Nothing where nothing is known, as in a virtual machine."""
    slow = [one for one in cpus if one.governor == "powersave" and one.driver not in OF_THEIR_OWN]
    if slow:
        text = f"the governor powersave keeps {_names(slow)} at the lowest frequency"
        return [Finding(CHECK, "warning", text, SET.format("schedutil", "scaling_governor"))]
    capped = [one for one in cpus if one.allowed and one.most and one.allowed < LEAST * one.most]
    if capped:
        first = capped[0]
        text = f"{_names(capped)} may run at {first.allowed or 0:,} kHz at most, of {first.most or 0:,}"
        return [Finding(CHECK, "note", text, SET.format(first.most, "scaling_max_freq"))]
    governors = sorted({one.governor for one in cpus if one.governor})
    return [Finding(CHECK, "ok", f"governor {', '.join(governors)}")] if governors else []


def _names(cpus: list[Frequency]) -> str:
    if len(cpus) == 1:
        return f"CPU {cpus[0].cpu}"
    return f"CPUs {', '.join(str(one.cpu) for one in cpus[:8])}" + (" and others" if len(cpus) > 8 else "")
