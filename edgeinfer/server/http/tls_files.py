"""Finds out why a certificate and its key cannot be used: OpenSSL's own words name neither file nor reason."""

from __future__ import annotations

import re
import shlex
import ssl
from pathlib import Path

from edgeinfer.errors import SettingsError

MAX_READ = 1 << 20
"""Bytes of a file that are looked at."""

CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
KEY = re.compile(rb"-----BEGIN (?:\w+ )*PRIVATE KEY-----")
ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)
DER = b"\x30"
"""The first byte of a certificate or key that is not in PEM format."""


def unusable(cert: Path, key: Path | None, error: OSError | ValueError) -> SettingsError:
    """Return what is wrong with the files that OpenSSL has refused with `error`. `key` None: it is in `cert`."""
    try:
        certificates, keys = _read("tls_cert", cert), _read("tls_key", key) if key else b""
    except SettingsError as e:
        return e
    if CERTIFICATE.search(certificates) is None:
        return _without_certificate(cert, key, certificates, keys)
    return _key_problem(cert, key, keys if key else certificates) or _refused(cert, key, error)


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_READ)
    except OSError as e:
        hint = f"give {setting} the path of a file in PEM format"
        if isinstance(e, PermissionError):
            hint = f"let the daemon's user read it: ls -l {shlex.quote(str(path))}"
        raise SettingsError(f"{setting}: {path}: {e.strerror}", param=setting, hint=hint) from e


def _without_certificate(cert: Path, key: Path | None, certificates: bytes, keys: bytes) -> SettingsError:
    hint = "give tls_cert a file with the line -----BEGIN CERTIFICATE-----"
    if certificates.startswith(DER):
        hint = f"convert it: openssl x509 -inform der -in {shlex.quote(str(cert))} -out cert.pem"
    elif KEY.search(certificates) and CERTIFICATE.search(keys):
        hint = f"swap the two: the certificate is in {key}"
    return SettingsError(
        f"tls_cert: {cert}: there is no certificate in PEM format in it", param="tls_cert", hint=hint
    )


def _key_problem(cert: Path, key: Path | None, keys: bytes) -> SettingsError | None:
    setting, path = ("tls_key", key) if key else ("tls_cert", cert)
    quoted = shlex.quote(str(path))
    if ENCRYPTED.search(keys):
        what = "the key is encrypted, and a service cannot ask for its password"
        hint = f"write it without one: openssl pkey -in {quoted} -out key.pem"
    elif KEY.search(keys) is None:
        what = "there is no private key in PEM format in it"
        hint = "give tls_key the file of the certificate's key"
        if key and keys.startswith(DER):
            hint = f"convert it: openssl pkey -inform der -in {quoted} -out key.pem"
    else:
        return None
    return SettingsError(f"{setting}: {path}: {what}", param=setting, hint=hint)


def _refused(cert: Path, key: Path | None, error: OSError | ValueError) -> SettingsError:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return SettingsError(
            f"tls_key: {key or cert}: the key is not that of the first certificate in {cert}",
            param="tls_key",
            hint="give the key that it was made with; of a chain, this server's own certificate comes first",
        )
    files = f"{cert} and {key}" if key else str(cert)
    return SettingsError(
        f"tls_cert: {files}: they are damaged, or of a kind that OpenSSL refuses: {error}",
        param="tls_cert",
        hint=f"openssl x509 -noout -text -in {shlex.quote(str(cert))} says more",
    )
