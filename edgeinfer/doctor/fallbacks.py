"""ConfigOverride settings that the worker remembers for a model that crashed with the planned ones."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from edgeinfer.backends.llama_cpp.safe_mode import ConfigOverride, read_overrides
from edgeinfer.doctor.finding import Finding, Level

CHECK = "fallbacks"
FILE = "fallback.json"
"""Name of the file in the store, or in the system service's folder."""


def check_fallbacks(file: Path, model: str | None) -> list[Finding]:
    """Check the remembered settings; `model` is the file that the settings name."""
    if file.exists() and not os.access(file, os.R_OK):
        return [Finding(CHECK, "note", f"this user cannot read {file}", "sudo edgeinfer doctor")]
    fix = f"a new llama.cpp tries the planned settings again; to try them now: rm {shlex.quote(str(file))}, edgeinfer service restart"
    findings = []
    for path, safer in read_overrides(file).items():
        level: Level = "warning" if path == model else "note"
        text = f"{Path(path).name} runs {_description(safer)}, because of: {safer.reason}"
        findings.append(Finding(CHECK, level, text, fix))
    return findings or [Finding(CHECK, "ok", "no model needs safer settings")]


def _description(safer: ConfigOverride) -> str:
    changes = [
        "without repacked weights (and AMX)" if safer.repack is False else None,
        "without mmap" if safer.mmap is False else None,
        f"on {safer.threads} thread{'' if safer.threads == 1 else 's'}" if safer.threads else None,
        "on the CPU alone" if safer.gpu_layers == 0 else None,
        "without its draft model" if safer.draft_model is False else None,
    ]
    return ", ".join(change for change in changes if change) or "with safer settings"
