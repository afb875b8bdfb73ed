"""Thoughts as the text that clients keep for us: they can only send it back."""

from __future__ import annotations

import base64
import binascii

MARK = "edgeinfer.1."
"""Begins a text of ours. One of another provider, which nobody here can read, begins otherwise."""


def pack(thoughts: str) -> str:
    """The thoughts as `encrypted_content`. They are the client's own, and need no secret."""
    return MARK + base64.urlsafe_b64encode(thoughts.encode(errors="surrogatepass")).decode()


def unpack(packed: str | None) -> str | None:
    """The thoughts in an `encrypted_content`; None if it is not from here."""
    if not packed or not packed.startswith(MARK):
        return None
    try:
        return base64.b64decode(packed[len(MARK) :], altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
