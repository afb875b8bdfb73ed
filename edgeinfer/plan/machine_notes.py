"""What is wrong with a machine or its llama.cpp, each with what to do, for whoever plans or installs."""

from __future__ import annotations

from importlib.util import find_spec

from edgeinfer.hardware import HardwareProfile, System
from edgeinfer.plan.build_notes import build_note
from edgeinfer.plan.platform_notes import Platform, PlatformNote, glibc_version, platform_notes
from edgeinfer.plan.rebuild import rebuild_command


def machine_notes(profile: HardwareProfile) -> list[str]:
    """Return a sentence for each restriction of the system, and for a build that does not suit the CPU."""
    has_llguidance = profile.llama is not None and find_spec("llguidance") is not None
    notes = [
        f"{note.text}; {note.fix}" for note in system_notes(profile.system, has_llguidance=has_llguidance)
    ]
    if note := build_note(profile.llama, profile.cpus, profile.cpu_name):
        notes.append(f"{note.text}; to build it for this machine: {rebuild_command()}")
    return notes


def system_notes(system: System, *, has_llguidance: bool) -> list[PlatformNote]:
    """Return the restrictions of a system that edgeinfer runs on, or of a recorded one."""
    return platform_notes(
        Platform(
            machine=system.machine,
            is_32_bit=system.is_32_bit,
            is_musl=system.is_musl,
            glibc=glibc_version(system.glibc),
            has_llguidance=has_llguidance,
        )
    )
