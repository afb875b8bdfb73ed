"""Which hub is asked, as whom, and how patiently: huggingface_hub's own variables say so."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edgeinfer.errors import SettingsError

PUBLIC_HUB = "https://huggingface.co"
TRUE = ("1", "ON", "YES", "TRUE")
"""What the client takes for true: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"""


@dataclass(frozen=True)
class RetryPolicy:
    """Says how long to wait for a server, and how often to try again. Times are in seconds.

    Attributes:
        read_timeout: a connection that brings no byte for this long is given up.
        max_attempts: consecutive failures after which a file is given up; any progress starts a new count.
        backoff: pause before the second attempt; it doubles with each failure, up to `max_backoff`.
        max_retry_after: longest pause that a server may ask for (Retry-After).
    """

    read_timeout: float = 30.0
    max_attempts: int = 8
    backoff: float = 1.0
    max_backoff: float = 30.0
    max_retry_after: float = 300.0


@dataclass(frozen=True)
class Endpoint:
    """A hub: its address without a slash at the end, and the token that is sent there and nowhere else."""

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
    """The hub that the environment names: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT.

    Raises:
        SettingsError: one of them makes no sense.
    """
    url = _address(environ.get("HF_ENDPOINT") or PUBLIC_HUB)
    offline = offline or any(
        environ.get(name, "").upper() in TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    read_timeout = _seconds("HF_HUB_DOWNLOAD_TIMEOUT", environ, RetryPolicy.read_timeout)
    token = None if offline else _token(url, environ)
    return Endpoint(url, token, offline, RetryPolicy(read_timeout=read_timeout))


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise SettingsError(
            "HF_ENDPOINT is no address of a hub", param="HF_ENDPOINT", hint="such as http://192.168.1.20:8080"
        )
    if "@" in parts.netloc:
        raise SettingsError(
            "HF_ENDPOINT must not hold a password", param="HF_ENDPOINT", hint="put the key into HF_TOKEN"
        )
    return url.rstrip("/")


def _token(url: str, environ: Mapping[str, str]) -> str | None:
    """HF_TOKEN goes to whatever HF_ENDPOINT names; what `hf auth login` kept is for the public hub alone."""
    found = environ.get("HF_TOKEN") or environ.get("HUGGING_FACE_HUB_TOKEN")
    if (
        not found
        and url == PUBLIC_HUB
        and environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in TRUE
    ):
        from huggingface_hub import get_token

        found = get_token()
    found = (found or "").strip()
    if not found.isascii() or not found.isprintable() or " " in found:
        # Said here: as a header it would be refused with its text in the message.
        raise SettingsError("the hub token has characters that no token has", param="HF_TOKEN")
    return found or None


def _seconds(name: str, environ: Mapping[str, str], default: float) -> float:
    if not (text := environ.get(name)):
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsError(f"{name} is no number of seconds: {text!r}", param=name)
    return seconds
