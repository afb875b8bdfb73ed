"""API keys: their names, limits and rights, and how they are checked."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Annotated

import msgspec

HASHED = "sha256:"
"""Begins a line with a digest; any other line of a key file is a key itself."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_LINE = re.compile(rf"{HASHED}(?P<digest>[0-9a-f]{{64}})\s+(?P<name>{NAME.pattern})(?P<fields>(\s+\w+=\S+)*)")

Limit = Annotated[int, msgspec.Meta(ge=0)]


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key, stored as a digest.

    Attributes:
        name: shown in the log and by `edgeinfer key ls`.
        digest: SHA-256 of the key. A key of ours has 256 random bits, so a slow hash would add nothing.
        requests_per_minute, concurrent_requests: limits for its holder; 0 is no limit, None takes the setting.
        created: a date.
        admin: it may load and unload models.
    """

    name: str
    digest: bytes
    requests_per_minute: Limit | None = None
    concurrent_requests: Limit | None = None
    created: str | None = None
    admin: bool = False

    def line(self) -> str:
        """The key's line in a key file."""
        fields = ("requests_per_minute", "concurrent_requests", "created")
        words = [f"{field}={getattr(self, field)}" for field in fields if getattr(self, field) is not None]
        if self.admin:
            words.append("admin=true")
        return " ".join([HASHED + self.digest.hex(), self.name, *words])


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def generate() -> str:
    """A new key. Its prefix lets scanners for leaked secrets find it."""
    return "ei-" + secrets.token_urlsafe(32)


def own_key(key: str) -> Key:
    """The key of the daemon's own user and of root, who may do anything with it anyway."""
    return Key("local", digest(key.encode()), requests_per_minute=0, concurrent_requests=0, admin=True)


def parse_line(line: str, number: int) -> Key | str | None:
    """The key in a line of a key file; None for a blank line or a comment, or the problem with the line, in words."""
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    if not text.startswith(HASHED):
        return Key(f"line-{number}", digest(text.encode()))
    match = _LINE.fullmatch(text)
    if match is None:
        return f"line {number} should be {HASHED}DIGEST NAME"
    fields = dict(field.partition("=")[::2] for field in match["fields"].split())
    identity = {"name": match["name"], "digest": bytes.fromhex(match["digest"])}
    if same := fields.keys() & identity.keys():
        return f"line {number} ({match['name']}): {same.pop()} occurs twice"
    try:
        return msgspec.convert({**fields, **identity}, Key, strict=False)
    except msgspec.ValidationError as e:
        return f"line {number} ({match['name']}): {e}"


class Keys:
    """The keys that open the API."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.all = tuple(keys)

    def find(self, presented: bytes) -> Key | None:
        """The key that equals `presented`, or None; takes the same time for any value."""
        presented_digest = digest(presented)
        match = None
        for key in self.all:
            if hmac.compare_digest(presented_digest, key.digest):
                match = key
        return match
