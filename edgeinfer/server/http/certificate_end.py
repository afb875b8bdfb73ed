"""Reads when a certificate ends: Python's ssl tells that only of a certificate that it trusts."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

MAX_READ = 1 << 20
"""Bytes of the file that are looked at."""

SEQUENCE, UTC_TIME, GENERALIZED_TIME, VERSION = 0x30, 0x17, 0x18, 0xA0
"""Tags of DER."""

PEM = re.compile(
    r"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----.*?-----END (X509 |TRUSTED )?CERTIFICATE-----", re.DOTALL
)


def certificate_end(path: Path) -> float | None:
    """Return the end of the first certificate in a PEM file, in seconds since 1970; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_READ).decode("ascii", errors="replace")
        found = PEM.search(text)
        return _end(ssl.PEM_cert_to_DER_cert(re.sub(r"(X509|TRUSTED) ", "", found[0]))) if found else None
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _end(der: bytes) -> float:
    """Certificate ::= { { [0] version, serial, algorithm, issuer, validity { begin, end }, ... }, ... }."""
    certificate = next(_items(der))[1]
    fields = [item for item in _items(next(_items(certificate))[1]) if item[0] != VERSION]
    tag, text = list(_items(fields[3][1]))[1]
    form = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(tag)
    if form is None:
        raise ValueError("no time")
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=timezone.utc).timestamp()


def _items(der: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each item."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets], "big")
            at += octets
        if at + length > len(der):
            raise ValueError("cut")
        yield tag, der[at : at + length]
        at += length
