"""HTTP access to a daemon: where it is, which key it takes, and its errors turned back into classes."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from edgeinfer import settings
from edgeinfer.daemon_record import read_records
from edgeinfer.errors import (
    EdgeinferError,
    ErrorData,
    InvalidRequest,
    ModelLoadFailed,
    NotReady,
    revive_public,
)
from edgeinfer.settings import Settings

API_KEY = settings.ENV_PREFIX + "API_KEY"
START_HINT = "start one in another terminal: edgeinfer serve"
ADDRESS_HINT = "is this the address of an edgeinfer daemon?"
JSON_HEADERS = {"Content-Type": "application/json"}

TIMEOUT = 10.0
"""Seconds for what a daemon answers at once."""


class Target(msgspec.Struct, frozen=True):
    """The address of a daemon and what is needed to talk to it.

    Attributes:
        explicit: the user named it, so no other daemon will do.
        certificate: the file that the daemon presents.
    """

    url: str
    uds: str | None = None
    api_key: str | None = None
    explicit: bool = False
    load_timeout: float = 600.0
    certificate: str | None = None

    def __str__(self) -> str:
        return self.uds or self.url


class ErrorBody(msgspec.Struct):
    """The body of a failed request."""

    error: ErrorData


class LlamaServerError(msgspec.Struct):
    """What llama-server's routes say, whose code is a number."""

    message: str


class LlamaServerErrorBody(msgspec.Struct):
    """The body of a failed request to one of llama-server's routes."""

    error: LlamaServerError


class ReadyReply(msgspec.Struct, frozen=True):
    """The body of /ready."""

    status: str
    reason: str | None = None
    model: str | None = None


def resolve_target(url: str | None, api_key: str | None, environ: Mapping[str, str] = os.environ) -> Target:
    """Return the daemon at `url`, else the one that this machine's settings describe."""
    api_key = (api_key or environ.get(API_KEY, "")).strip() or None
    if url:
        return Target(base_url(url), api_key=api_key, explicit=True)
    return target_of(settings.load(environ=environ).settings, api_key)


def target_of(settings: Settings, api_key: str | None = None) -> Target:
    """Return the daemon that runs with these settings."""
    certificate = None if settings.uds else settings.tls_cert
    return Target(
        f"{'https' if certificate else 'http'}://{_reachable(settings.host)}:{settings.port}",
        uds=settings.uds,
        api_key=api_key or _first_key(settings.api_key_file) or _own_key(settings),
        load_timeout=settings.load_timeout,
        certificate=certificate,
    )


def own_daemon(pid: int) -> Target | None:
    """Return a daemon of this user by its process id, wherever the settings say it should listen by now."""
    record = next((record for record in read_records() if record.pid == pid), None)
    if record is None or not record.addresses:
        return None
    address = record.addresses[0]
    if address.startswith("unix:"):
        return Target("http://127.0.0.1", uds=address.removeprefix("unix:"), api_key=record.key)
    url = httpx.URL(address)
    url = url.copy_with(host=_reachable(url.host).strip("[]"))
    certificate = settings.load().settings.tls_cert if url.scheme == "https" else None
    return Target(str(url), api_key=record.key, certificate=certificate)


def _own_key(settings: Settings) -> str | None:
    """Return the key by which a daemon's own user and root get in."""
    places = (f"unix:{settings.uds}",) if settings.uds else (f":{settings.port}",)
    records = [record for record in read_records() if any(a.endswith(places) for a in record.addresses)]
    return records[-1].key if records else None


def base_url(url: str) -> str:
    """Complete `url` as people write it: with or without a scheme, with or without OpenAI's /v1."""
    url = (url if "://" in url else "http://" + url).rstrip("/")
    return url.removesuffix("/v1")


def connect(target: Target) -> httpx.Client:
    """Make a client that waits as long as an answer takes and never uses a proxy."""
    if target.api_key and not (target.api_key.isascii() and target.api_key.isprintable()):
        raise EdgeinferError(
            "the API key has characters that are not allowed in a key", hint=f"check --api-key and {API_KEY}"
        )
    with mapped_errors(target):
        return httpx.Client(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.api_key}"} if target.api_key else {},
            timeout=httpx.Timeout(None, connect=5.0),
            transport=httpx.HTTPTransport(
                uds=target.uds, verify=accepted_certificates(target), trust_env=False
            ),
            trust_env=False,
        )


def json_body(body: Any) -> bytes:
    """Encode a request. Raises InvalidRequest if it has texts or numbers that JSON does not have."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as e:
        raise InvalidRequest(
            f"{e.object[e.start : e.end][:20]!a} in the request is not valid Unicode",
            hint="check the arguments and the files that they name",
        ) from e
    except ValueError as e:
        raise InvalidRequest("numbers must be finite") from e


def accepted_certificates(target: Target) -> ssl.SSLContext | bool:
    """Return the certificates to accept; for our own daemon its own, under any host name."""
    if target.certificate is None:
        return target.url.startswith("https:")
    try:
        context = ssl.create_default_context(cafile=target.certificate)
    except OSError as e:  # ssl.SSLError is one
        raise EdgeinferError(f"tls_cert {target.certificate}: {e}", hint="edgeinfer status --url URL") from e
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


@contextmanager
def mapped_errors(target: Target) -> Iterator[None]:
    """Turn httpx's errors into ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as e:
        if "certificate verify failed" in str(e):
            raise EdgeinferError(f"{target}: {e}") from e
        raise NotReady(f"no daemon answers at {target}", hint=START_HINT) from e
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise EdgeinferError(f"{target}: {str(e) or type(e).__name__}", hint="edgeinfer status") from e


def raise_for_status(response: httpx.Response, target: Target) -> None:
    """Raise the error that an unsuccessful response carries."""
    if response.is_success:
        return
    body = response.read()
    try:
        error = _error(body)
    except (msgspec.DecodeError, RecursionError) as e:
        text = body[:200].decode(errors="replace").strip()
        raise EdgeinferError(
            f"{target} answered {response.status_code}: {text or response.reason_phrase}", hint=ADDRESS_HINT
        ) from e
    if response.status_code == 401:
        error.hint = f"pass a key with --api-key or in {API_KEY}"
    raise error


def _error(body: bytes) -> EdgeinferError:
    """Return the error in a body. Raises msgspec.DecodeError if there is none."""
    try:
        return revive_public(msgspec.json.decode(body, type=ErrorBody).error)
    except msgspec.ValidationError:
        text = msgspec.json.decode(body, type=LlamaServerErrorBody).error.message
        message, _, hint = text.removesuffix(")").partition(" (hint: ")
        return EdgeinferError(message, hint=hint) if hint else EdgeinferError(text)


def get_json(client: httpx.Client, target: Target, path: str) -> Any:
    """Return the JSON at `path`."""
    with mapped_errors(target):
        response = client.get(path, timeout=TIMEOUT)
    return _json(response, target, path)


def post_json(client: httpx.Client, target: Target, path: str, body: Any) -> Any:
    """Return the JSON that answers `body`; waits as long as the answer takes."""
    with mapped_errors(target):
        response = client.post(path, content=json_body(body), headers=JSON_HEADERS)
    return _json(response, target, path)


def _json(response: httpx.Response, target: Target, path: str) -> Any:
    raise_for_status(response, target)
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, RecursionError) as e:
        raise EdgeinferError(f"{target}{path} did not answer with JSON", hint=ADDRESS_HINT) from e


def is_ready(client: httpx.Client, target: Target) -> bool:
    """Tell whether the daemon would answer a prompt now; False while its model is loading.

    Raises:
        NotReady: there is no daemon.
        ModelLoadFailed: it will not become ready.
    """
    with mapped_errors(target):
        try:
            response = client.get("/ready", timeout=TIMEOUT)
        except httpx.ReadTimeout:  # a slow board listens for many seconds before it can answer
            return False
    if response.status_code != 503:
        raise_for_status(response, target)
        return True
    try:
        reply = msgspec.json.decode(response.content, type=ReadyReply)
    except (msgspec.DecodeError, RecursionError):  # somebody's proxy, for a daemon that is not there
        return False
    if reply.status == "failed":
        raise ModelLoadFailed(reply.reason or "the model could not be loaded", hint="edgeinfer status")
    return False


def _reachable(host: str) -> str:
    """Return the address that reaches a daemon listening on `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _first_key(file: str | None) -> str | None:
    """Return a key that the daemon accepts, where this user may read its file."""
    if file is None:
        return None
    try:
        lines = Path(file).read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    keys = (line.strip() for line in lines)
    return next((key for key in keys if key and not key.startswith(("#", "sha256:"))), None)
