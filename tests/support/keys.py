"""Files of API keys."""

from __future__ import annotations

from pathlib import Path

from edgeinfer.server.auth.keys import Key, digest


def write(path: Path, *lines: str) -> Path:
    """As an editor does, in place; what was there is gone."""
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


def hashed(name: str, key: str, per_minute: int | None = None, at_once: int | None = None) -> str:
    return Key(name, digest(key.encode()), per_minute, at_once).line()
