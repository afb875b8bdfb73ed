"""Who gets in: the address, the keys, TLS."""

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


def access(settings: Settings, key_file: str | None) -> list[Finding]:
    """`key_file`: the one in force, None where no key is asked for."""
    settings = replace(settings, api_key_file=key_file)
    found = []
    try:
        check_exposure(settings)
    except SettingsError as e:
        found.append(from_error(CHECK, e, "edgeinfer key add NAME"))
    keys = 0
    if key_file:
        try:
            keys = len(KeyFile(Path(key_file)).keys.all)
        except SettingsError as e:
            found.append(_unusable(e, "edgeinfer key ls"))
    try:
        encrypted = certificate(settings) is not None
    except SettingsError as e:
        found.append(_unusable(e, "mend tls_cert and tls_key"))
        encrypted = True
    reached = settings.uds is None and not is_loopback(settings.host)
    if reached and not encrypted:
        text = f"keys and prompts cross the network readable for all on the way, as {settings.host} speaks plain HTTP"
        found.append(Finding(CHECK, "warning", text, "set tls_cert and tls_key"))
    return found or [Finding(CHECK, "ok", _who(keys, reached=reached))]


def _unusable(error: SettingsError, otherwise: str) -> Finding:
    if isinstance(error.__cause__, PermissionError):
        return Finding(
            CHECK, "note", f"{error.message}: not to be checked by this user", "sudo edgeinfer doctor"
        )
    return from_error(CHECK, error, otherwise)


def _who(keys: int, *, reached: bool) -> str:
    who = "other machines can reach it" if reached else "only this machine can reach it"
    return f"{who}, {f'with one of {keys} keys' if keys > 1 else 'with its key' if keys else 'no key needed'}"
