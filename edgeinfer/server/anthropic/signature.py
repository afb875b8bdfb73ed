"""The signatures of thinking blocks.

Clients send a block back as they got it, and some drop blocks without a signature. Ours proves nothing: it says where a
block is from, or holds the thoughts for a client that does not want to see them.
"""

from __future__ import annotations

import base64
import binascii

SIGNATURE = "edgeinfer"
HELD = f"{SIGNATURE}:"


def hold(thoughts: str) -> str:
    """A signature with the thoughts in it."""
    return HELD + base64.b64encode(thoughts.encode(errors="surrogatepass")).decode()


def held_thoughts(signature: str) -> str:
    """The thoughts in a signature of `hold`; "" if it is another."""
    if not signature.startswith(HELD):
        return ""
    try:
        return base64.b64decode(signature.removeprefix(HELD), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
