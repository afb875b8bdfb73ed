"""The configuration file, and what overrides or hides it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import SettingsError
from edgeinfer.settings import SYSTEM_CONFIG, Loaded, config_path, user_config, variables

CHECK = "configuration"


def config_file(environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file in use, None if there is none or it cannot be looked up."""
    try:
        return config_path(environ)
    except (SettingsError, OSError):
        return None


def check_configuration(
    loaded: Loaded | SettingsError, environ: Mapping[str, str], *, has_service: bool
) -> list[Finding]:
    """Check the settings; `loaded` is an error if they cannot be read."""
    if isinstance(loaded, SettingsError):
        return [from_error(CHECK, loaded, "correct the file; docs/configuration.md lists every setting")]
    path, own = config_file(environ), user_config(environ)
    findings = []
    if path == SYSTEM_CONFIG and os.access(own, os.F_OK):
        text = f"{own} is ignored, as {SYSTEM_CONFIG} exists"
        findings.append(Finding(CHECK, "note", text, f"merge them into one file: sudoedit {SYSTEM_CONFIG}"))
    if has_service and (names := variables(environ)):
        text = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} set in this shell, where the service does not see {'it' if len(names) == 1 else 'them'}"
        fix = f"unset {' '.join(names)}; set the service's settings in {path or SYSTEM_CONFIG}"
        findings.append(Finding(CHECK, "note", text, fix))
    return findings or [Finding(CHECK, "ok", str(path) if path else "no configuration file; defaults apply")]
