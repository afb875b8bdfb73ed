"""API keys: read once at start, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import logging
import stat
from collections.abc import Iterable
from pathlib import Path

from edgeinfer.errors import SettingsError

logger = logging.getLogger(__name__)


class Keys:
    """The keys that open the API. Only their digests are kept."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def accept(self, presented: bytes) -> bool:
        """Whether `presented` is a key. Takes the same time whichever it is, and whether it is one."""
        digest = _digest(presented)
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(digest, known)
        return found


def read_keys(path: Path) -> Keys:
    """One key a line; blank lines and lines that begin with `#` are skipped.

    Raises:
        SettingsError: the file cannot be read or holds no key.
    """
    try:
        lines = path.read_text().splitlines()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"api_key_file {path}: {e}", param="api_key_file") from e
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise SettingsError(
            f"api_key_file {path} holds no key",
            param="api_key_file",
            hint=f"openssl rand -hex 32 > {path} && chmod 600 {path}",
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        logger.warning("other users can read the keys in %s; hint: chmod 600 %s", path, path)
    return Keys(keys)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
