"""The configuration file, and what stands in its way."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import SettingsError
from edgeinfer.settings import SYSTEM_CONFIG, Loaded, config_path, user_config, variables

CHECK = "configuration"


def file(environ: Mapping[str, str]) -> Path | None:
    """The one in force, None where there is none or it can't be found."""
    try:
        return config_path(environ)
    except (SettingsError, OSError):
        return None


def configuration(
    loaded: Loaded | SettingsError, environ: Mapping[str, str], *, has_service: bool
) -> list[Finding]:
    """`loaded`: the settings, or what is wrong with them."""
    if isinstance(loaded, SettingsError):
        return [from_error(CHECK, loaded, "mend it; docs/configuration.md has every setting")]
    path, own = file(environ), user_config(environ)
    found = []
    if path == SYSTEM_CONFIG and os.access(own, os.F_OK):
        text = f"{own} does not count, since there is {SYSTEM_CONFIG}"
        found.append(Finding(CHECK, "note", text, f"keep one of the two: sudoedit {SYSTEM_CONFIG}"))
    if has_service and (names := variables(environ)):
        text = f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} set in this shell, unseen by the service"
        fix = f"unset {' '.join(names)}; settings of the service belong in {path or SYSTEM_CONFIG}"
        found.append(Finding(CHECK, "note", text, fix))
    return found or [Finding(CHECK, "ok", str(path) if path else "no file, so all is as built in")]
