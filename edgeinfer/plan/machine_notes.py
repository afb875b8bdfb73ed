"""What is wrong with a machine or its llama.cpp, each with what to do, for whoever plans or installs."""

from __future__ import annotations

from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.build_notes import build_note
from edgeinfer.plan.platform_notes import platform_notes
from edgeinfer.plan.rebuild import rebuild_command


def machine_notes(profile: HardwareProfile) -> list[str]:
    """Return a sentence for each restriction of the system, and for a build that does not suit the CPU."""
    notes = [f"{note.text}; {note.fix}" for note in platform_notes(profile.system)]
    if note := build_note(profile.llama, profile.cpus, profile.cpu_name):
        notes.append(f"{note.text}; to build it for this machine: {rebuild_command()}")
    return notes
