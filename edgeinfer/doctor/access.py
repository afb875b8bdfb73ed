"""Access to the daemon: the address, the API keys and TLS."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from edgeinfer.doctor.finding import Finding, from_error
from edgeinfer.errors import SettingsError
from edgeinfer.server.auth.key_file import KeyFile
from edgeinfer.server.http.sockets import check_exposure, is_loopback
from edgeinfer.server.http.tls import certificate
from edgeinfer.settings import Settings

CHECK = "access"


def check_access(settings: Settings, key_file: str | None) -> list[Finding]:
    """Check who can use the daemon; `key_file` is None if no key is required."""
    settings = replace(settings, api_key_file=key_file)
    findings = []
    try:
        check_exposure(settings)
    except SettingsError as e:
        findings.append(from_error(CHECK, e, "edgeinfer key add NAME"))
    keys = 0
    if key_file:
        try:
            keys = len(KeyFile(Path(key_file)).keys.all)
        except SettingsError as e:
            findings.append(_unusable(e, "edgeinfer key ls"))
    try:
        encrypted = certificate(settings) is not None
    except SettingsError as e:
        findings.append(_unusable(e, "fix tls_cert and tls_key"))
        encrypted = True
    exposed = settings.uds is None and not is_loopback(settings.host)
    if exposed and not encrypted:
        text = f"{settings.host} serves plain HTTP: anyone on the way can read keys and prompts"
        findings.append(Finding(CHECK, "warning", text, "set tls_cert and tls_key"))
    return findings or [Finding(CHECK, "ok", _summary(keys, exposed=exposed))]


def _unusable(error: SettingsError, default_fix: str) -> Finding:
    if isinstance(error.__cause__, PermissionError):
        return Finding(CHECK, "note", f"{error.message}: this user may not check it", "sudo edgeinfer doctor")
    return from_error(CHECK, error, default_fix)


def _summary(keys: int, *, exposed: bool) -> str:
    reach = "other machines can reach it" if exposed else "only this machine can reach it"
    count = "1 API key" if keys == 1 else f"{keys} API keys"
    return f"{reach}, {count if keys else 'no key required'}"
