"""Speaking with a daemon over HTTP: where it is, with which key, and its errors made classes again."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from edgeinfer import settings
from edgeinfer.errors import EdgeinferError, ErrorData, ModelLoadFailed, NotReady, revive
from edgeinfer.settings import Settings

API_KEY = settings.ENV_PREFIX + "API_KEY"
START_IT = "start one in another terminal: edgeinfer serve"


class Target(msgspec.Struct, frozen=True):
    """A daemon's address. `named`: by the user, so no other will do. `certificate`: the file it shows us."""

    url: str
    uds: str | None = None
    api_key: str | None = None
    named: bool = False
    load_timeout: float = 600.0
    certificate: str | None = None

    def __str__(self) -> str:
        return self.uds or self.url


class Failure(msgspec.Struct):
    """The body of a failed request."""

    error: ErrorData


def find(url: str | None, api_key: str | None, environ: Mapping[str, str] = os.environ) -> Target:
    """The daemon at `url`, else the one that this machine's settings describe."""
    api_key = (api_key or environ.get(API_KEY, "")).strip() or None
    if url:
        return Target(base_url(url), api_key=api_key, named=True)
    return target_of(settings.load(environ=environ).settings, api_key)


def target_of(found: Settings, api_key: str | None = None) -> Target:
    """The daemon that has these settings."""
    certificate = None if found.uds else found.tls_cert
    return Target(
        f"{'https' if certificate else 'http'}://{_reachable(found.host)}:{found.port}",
        uds=found.uds,
        api_key=api_key or _first_key(found.api_key_file),
        load_timeout=found.load_timeout,
        certificate=certificate,
    )


def base_url(url: str) -> str:
    """`url` as people write it: with or without the scheme, with or without OpenAI's /v1."""
    url = (url if "://" in url else "http://" + url).rstrip("/")
    return url.removesuffix("/v1")


def connect(target: Target) -> httpx.Client:
    """A client that waits as long as an answer takes. Proxies are for other people's servers: none is used."""
    with mapped_errors(target):
        return httpx.Client(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.api_key}"} if target.api_key else {},
            timeout=httpx.Timeout(None, connect=5.0),
            transport=httpx.HTTPTransport(uds=target.uds, verify=_trust(target), trust_env=False),
            trust_env=False,
        )


def _trust(target: Target) -> ssl.SSLContext | bool:
    """Whose certificates are good: for our own daemon its own, whatever name the world knows it by."""
    if target.certificate is None:
        return target.url.startswith("https:")
    try:
        found = ssl.create_default_context(cafile=target.certificate)
    except OSError as e:  # ssl.SSLError is one
        raise EdgeinferError(f"tls_cert {target.certificate}: {e}", hint="edgeinfer status --url URL") from e
    found.check_hostname = False
    found.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return found


@contextmanager
def mapped_errors(target: Target) -> Iterator[None]:
    """httpx's errors as ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as e:
        if "certificate verify failed" in str(e):
            raise EdgeinferError(f"{target}: {e}") from e
        raise NotReady(f"no daemon answers at {target}", hint=START_IT) from e
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise EdgeinferError(f"{target}: {str(e) or type(e).__name__}", hint="edgeinfer status") from e


def check(response: httpx.Response, target: Target) -> None:
    """Raise what an unsuccessful response says."""
    if response.is_success:
        return
    body = response.read()
    try:
        error = revive(msgspec.json.decode(body, type=Failure).error)
    except msgspec.DecodeError as e:
        text = body[:200].decode(errors="replace").strip()
        raise EdgeinferError(
            f"{target} answered {response.status_code}: {text or response.reason_phrase}",
            hint="is this the address of an edgeinfer daemon?",
        ) from e
    if response.status_code == 401:
        error.hint = f"give a key with --api-key or in {API_KEY}"
    raise error


def get(client: httpx.Client, target: Target, path: str) -> Any:
    """The JSON at `path`."""
    with mapped_errors(target):
        response = client.get(path, timeout=10.0)
    check(response, target)
    try:
        return msgspec.json.decode(response.content)
    except msgspec.DecodeError as e:
        raise EdgeinferError(f"{target}{path} is not JSON: is this an edgeinfer daemon?") from e


class Readiness(msgspec.Struct):
    """The body of /ready."""

    status: str
    reason: str | None = None


def is_ready(client: httpx.Client, target: Target) -> bool:
    """Whether the daemon would answer a prompt now; False while its model is loading.

    Raises:
        NotReady: there is no daemon.
        ModelLoadFailed: it will not become ready.
    """
    with mapped_errors(target):
        response = client.get("/ready", timeout=10.0)
    if response.status_code != 503:
        check(response, target)
        return True
    try:
        found = msgspec.json.decode(response.content, type=Readiness)
    except msgspec.DecodeError:  # somebody's proxy, for a daemon that is not there
        return False
    if found.status == "failed":
        raise ModelLoadFailed(found.reason or "the model could not be loaded", hint="edgeinfer status")
    return False


def _reachable(host: str) -> str:
    """The address that reaches a daemon listening on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _first_key(file: str | None) -> str | None:
    """A key the daemon takes, where we may read its file."""
    if file is None:
        return None
    try:
        lines = Path(file).read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    keys = (line.strip() for line in lines)
    return next((key for key in keys if key and not key.startswith(("#", "sha256:"))), None)
