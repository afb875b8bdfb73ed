"""Reads the hub's address, token and timeout from huggingface_hub's own environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edgeinfer.errors import SettingsError

PUBLIC_HUB = "https://huggingface.co"
TRUE = ("1", "ON", "YES", "TRUE")
"""Values that count as true: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"""

TOKEN_VARIABLES = ("HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME")
"""Variables that say where the stored token is."""


@dataclass(frozen=True)
class RetryPolicy:
    """Says how long to wait for a server, and how often to try again. Times are in seconds.

    Attributes:
        read_timeout: a connection that brings no byte for this long is given up.
        min_bytes: bytes that twice `read_timeout` must bring. A server that sends a byte now and then is given up.
        max_attempts: consecutive failures after which a file is given up; any progress starts a new count.
        backoff: pause before the second attempt; it doubles with each failure, up to `max_backoff`.
        max_retry_after: longest pause that a server may ask for (Retry-After).
    """

    read_timeout: float = 30.0
    min_bytes: int = 1 << 16
    max_attempts: int = 8
    backoff: float = 1.0
    max_backoff: float = 30.0
    max_retry_after: float = 300.0


@dataclass(frozen=True)
class Endpoint:
    """A hub: its address without a trailing slash, and the token, which is sent nowhere else."""

    url: str = PUBLIC_HUB
    token: str | None = field(default=None, repr=False)
    offline: bool = False
    retry_policy: RetryPolicy = RetryPolicy()

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def public(self) -> bool:
        return self.url == PUBLIC_HUB


def hub_endpoint(*, offline: bool = False, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """Return the hub that the environment names.

    The variables are HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and HF_HUB_DOWNLOAD_TIMEOUT.

    Raises:
        SettingsError: one of them is invalid.
    """
    url = _address(environ.get("HF_ENDPOINT") or PUBLIC_HUB)
    offline = offline or any(
        environ.get(name, "").upper() in TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    read_timeout = _seconds("HF_HUB_DOWNLOAD_TIMEOUT", environ, RetryPolicy.read_timeout)
    _seconds("HF_HUB_ETAG_TIMEOUT", environ, 0)  # read by the client alone, which fails on anything else
    token = None if offline else _token(url, environ)
    return Endpoint(url, token, offline, RetryPolicy(read_timeout=read_timeout))


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise SettingsError(
            "HF_ENDPOINT is not the address of a hub",
            param="HF_ENDPOINT",
            hint="for example: http://192.168.1.20:8080",
        )
    if "@" in parts.netloc:
        raise SettingsError(
            "HF_ENDPOINT must not contain a password", param="HF_ENDPOINT", hint="put the key into HF_TOKEN"
        )
    return url.rstrip("/")


def _token(url: str, environ: Mapping[str, str]) -> str | None:
    """Return HF_TOKEN, or for the public hub only, the token stored by `hf auth login`."""
    token = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if (
        not token
        and url == PUBLIC_HUB
        and environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in TRUE
    ):
        from huggingface_hub import get_token

        try:
            token = get_token()
        except OSError as e:
            # HOME may be left from another user, whose login this is. A folder that is named is meant.
            named = next((name for name in TOKEN_VARIABLES if environ.get(name)), None)
            if named or not isinstance(e, PermissionError):
                raise SettingsError(
                    f"the token of `hf auth login` cannot be read: {e}",
                    param=named,
                    hint="set HF_TOKEN or HF_HOME",
                ) from e
    token = (token or "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        # Checked here, because the HTTP library would put the token into its error message.
        raise SettingsError("the hub token has characters that are not allowed in a token", param="HF_TOKEN")
    return token or None


def _seconds(name: str, environ: Mapping[str, str], default: float) -> float:
    """Read a whole number, as the official client does when it is imported."""
    if not (text := environ.get(name)):
        return default
    try:
        seconds = int(text)
    except ValueError:
        seconds = 0
    if seconds <= 0:
        raise SettingsError(f"{name} is not a whole number of seconds: {text!r}", param=name)
    return seconds
