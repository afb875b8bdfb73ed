"""Safer settings that the worker had to take for a model, and keeps to."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edgeinfer.backends.llama_cpp.safe_mode import ConfigOverride, read_overrides
from edgeinfer.doctor.finding import Finding, Level

CHECK = "fallbacks"
FILE = "fallback.json"
"""Where `edgeinfer serve` keeps them: in the store, or in the folder of the system's service."""


def fallbacks(file: Path, model: str | None) -> list[Finding]:
    """`model`: the file that the settings name."""
    if file.exists() and not os.access(file, os.R_OK):
        return [Finding(CHECK, "note", f"{file} cannot be looked at by this user", "sudo edgeinfer doctor")]
    again = f"a new llama.cpp forgets it; to try again now: rm {shlex.quote(str(file))}, edgeinfer service restart"
    found = []
    for path, safer in read_overrides(file).items():
        level: Level = "warning" if path == model else "note"
        text = f"{Path(path).name} runs {_words(safer)}, since otherwise: {safer.reason}"
        found.append(Finding(CHECK, level, text, again))
    return found or [Finding(CHECK, "ok", "no model needed safer settings")]


def _words(safer: ConfigOverride) -> str:
    said = [
        "without repacked weights (nor AMX)" if safer.repack is False else None,
        "without mmap" if safer.mmap is False else None,
        f"on {safer.threads} thread{'' if safer.threads == 1 else 's'}" if safer.threads else None,
        "on the CPU alone" if safer.gpu_layers == 0 else None,
    ]
    return ", ".join(one for one in said if one) or "otherwise"
