"""Sends requests to a hub through the official client's session, and turns refusals into our errors.

The client's own `hf_hub_download` starts over after every interruption (since 1.18 each download has its own
temporary file, which is deleted on failure), so only its session is used.
"""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import quote as percent_encoded

from huggingface_hub import get_session
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is its HTTP library's
    HTTPError,
    OfflineModeIsEnabled,
)

from edgeinfer import __version__
from edgeinfer.errors import DownloadFailed, EdgeinferError, Forbidden, ModelNotFound, Offline, SettingsError
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.retries import RangeRefused, RetryableError
from edgeinfer.log import escape
from edgeinfer.store.progress import size_text

HTTP_LOGGERS = ("httpx", "httpcore", "httpx2", "httpcore2")
RETRYABLE_STATUSES = (408, 425, 429, 500, 502, 503, 504)
MAX_JSON_BYTES = 1 << 25
"""A repository of a thousand files takes 1 MB."""


class HubConnection:
    """Sends requests to one hub.

    Its methods raise RetryableError for failures that may go away, and EdgeinferError for all others.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        _hide_addresses()
        self._headers = {"User-Agent": f"edgeinfer/{__version__}", "Accept-Encoding": "identity"}
        if endpoint.token:
            self._headers["Authorization"] = f"Bearer {endpoint.token}"

    def repo_json(self, repo: str, revision: str) -> bytes:
        """Return the hub's description of a repository at a revision."""
        path = f"/api/models/{repo}/revision/{percent_encoded(revision, safe='')}?blobs=true"
        with self._open(self.endpoint.url + path, {}, repo) as response:
            body = bytearray()
            for piece in self.pieces(response):
                body += piece
                if len(body) > MAX_JSON_BYTES:
                    raise DownloadFailed(
                        f"{self.endpoint.host} sends an implausibly long description of {repo}"
                    )
            return bytes(body)

    @contextlib.contextmanager
    def open_file(
        self, repo: str, file: str, revision: str, start: int, end: int | None = None
    ) -> Iterator[Any]:
        """Request a file's bytes from `start` to before `end`; a server may ignore the range and start at 0."""
        url = f"{self.endpoint.url}/{repo}/resolve/{revision}/{percent_encoded(file)}"
        headers = (
            {} if not start and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        )
        with self._open(url, headers, repo) as response:
            if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                raise DownloadFailed(
                    f"{_host(response)} sends the file compressed as {escape(encoding)[:20]}"
                )
            yield response

    def pieces(self, response: Any) -> Iterator[bytes]:
        """Yield the body of a response as it arrives.

        Raises:
            RetryableError: it arrives so slowly that it would never end. A timeout of the HTTP library starts again
                with each byte.
        """
        policy = self.endpoint.retry_policy
        window, received = 2 * policy.read_timeout, 0
        end = time.monotonic() + window
        for piece in response.iter_bytes():
            received += len(piece)
            yield piece
            if time.monotonic() > end:
                if received < policy.min_bytes:
                    raise RetryableError(f"{_host(response)} sent only {received} bytes in {window:g} s")
                received, end = 0, time.monotonic() + window

    @contextlib.contextmanager
    def _open(self, url: str, headers: dict[str, str], repo: str) -> Iterator[Any]:
        """Send a request; the session follows redirects, and sends no token to another host."""
        if self.endpoint.offline:
            raise Offline(f"{repo} is not installed, and the network is off")
        timeout = self.endpoint.retry_policy.read_timeout
        session = _session()
        try:
            with session.stream(
                "GET", url, headers=self._headers | headers, timeout=timeout, follow_redirects=True
            ) as response:
                if response.status_code != 200 and response.status_code != 206:
                    self._refused(response, repo)
                yield response
        except OfflineModeIsEnabled:  # the client reads the environment itself
            raise Offline(f"{repo} is not installed, and the network is off") from None
        except HTTPError as e:
            raise self._broken(e) from e

    def _broken(self, error: Exception) -> Exception:
        host, name = self.endpoint.host, type(error).__name__
        if _has_cause(error, ssl.SSLCertVerificationError):
            return DownloadFailed(
                f"the certificate of {host} is not valid",
                hint="check the clock (date); if a proxy has its own certificate, set SSL_CERT_FILE to it",
            )
        if "Timeout" in name:
            return RetryableError(f"{host} sent nothing for {self.endpoint.retry_policy.read_timeout:g} s")
        reason = escape(str(error))[:200] or name
        return RetryableError(
            f"no connection to {host}: {reason}" if name == "ConnectError" else f"{host}: {reason}"
        )

    def _refused(self, response: Any, repo: str) -> NoReturn:
        status, host = response.status_code, _host(response)
        reason = escape(response.headers.get("X-Error-Message") or "")[:200]
        if status in RETRYABLE_STATUSES:
            raise RetryableError(
                f"{host} answers {status}{f' ({reason})' if reason else ''}", _retry_after(response)
            )
        raise self._refusal(status, response.headers.get("X-Error-Code"), reason, host, repo)

    def _refusal(self, status: int, code: str | None, reason: str, host: str, repo: str) -> EdgeinferError:
        endpoint = self.endpoint
        page = f"{endpoint.url}/{repo}"
        login = "hf auth login (or set HF_TOKEN)" if endpoint.public else "set HF_TOKEN to its key"
        if status == 416:
            return DownloadFailed(f"{host} has less of the file than it announced", hint="try again later")
        if host != endpoint.host:
            return DownloadFailed(
                f"{endpoint.host} redirected to {host}, which answers {status}", hint="try again"
            )
        if code == "GatedRepo":
            if endpoint.token:
                hint = f"request access at {page} with the account of your token, then try again"
            else:
                hint = f"accept the licence at {page}, then: {login}"
            return Forbidden(
                f"{repo} is only available to users who have accepted its licence", param="model", hint=hint
            )
        if code == "RevisionNotFound":
            return ModelNotFound(f"{repo} has no such revision", param="revision", hint=f"see {page}/commits")
        if code == "EntryNotFound":
            return ModelNotFound(f"{repo} has no such file", param="model", hint=f"see {page}/tree/main")
        if status == 401 and reason.startswith("Invalid credentials"):
            problem = "does not accept the token" if endpoint.token else "requires a key"
            return Forbidden(f"{host} {problem}", param="HF_TOKEN", hint=login)
        if status in (401, 404):
            hint = f"check the spelling: {page}"
            if not endpoint.token:
                hint += f"; for a private one: {login}"
            return ModelNotFound(f"{host} has no model {repo}, or it is private", param="model", hint=hint)
        details = f": {reason}" if reason else ""
        if status == 403:
            return Forbidden(f"{host} denies access to {repo}{details}", param="model", hint=login)
        return DownloadFailed(f"{host} answers {status} for {repo}{details}")


def _session() -> Any:
    """Return the client's session, which is made with what the environment says of proxies and certificates.

    Raises:
        SettingsError: it cannot be made that way. Its library raises all kinds of errors then.
    """
    try:
        return get_session()
    except Exception as e:
        reason = escape(str(e))[:200] or type(e).__name__
        raise SettingsError(
            f"the proxy or certificate settings in the environment cannot be used: {reason}",
            hint="check ALL_PROXY, HTTPS_PROXY, HTTP_PROXY, SSL_CERT_FILE and SSLKEYLOGFILE",
        ) from e


def content_start(response: Any, size: int) -> int:
    """Return the position in the file at which the body starts.

    Raises:
        RangeRefused: the server does not say which part of the file it is.
        RetryableError: it is not part of a file of `size` bytes, but a login page or a truncated copy.
    """
    if response.status_code == 206:
        match = re.fullmatch(
            r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)", response.headers.get("Content-Range", "")
        )
        if not match:
            raise RangeRefused(f"{_host(response)} does not say which part of the file it sends")
        start, total = int(match[1]), match[2]
        if total != "*" and int(total) != size:
            raise RetryableError(
                f"{_host(response)} has {size_text(int(total))} of a file of {size_text(size)}"
            )
        return start
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size):
        raise RetryableError(f"{_host(response)} has {escape(length)[:20]} bytes of a file of {size}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise RetryableError(f"{_host(response)} sends a web page instead of the file")
    return 0


def _host(response: Any) -> str:
    """Return the host only: the rest of an address may contain a signature."""
    return str(response.url.netloc.decode("ascii", "replace"))


def _has_cause(error: BaseException | None, cls: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, cls):
            return True
        error = error.__cause__ or error.__context__
    return False


def _retry_after(response: Any) -> float | None:
    """Return the seconds that the server asks to wait, by Retry-After or the hub's RateLimit header."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    match = re.search(r"\br=0\s*;\s*t=(\d{1,9})", response.headers.get("RateLimit", ""))
    return float(match[1]) if match and response.status_code == 429 else None


def _hide_addresses() -> None:
    """Keep addresses out of the log: that of a gated file in the hub's storage is as good as a key to it."""
    for name in HTTP_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
