"""Requests to a hub through the official client's session: the token, ranges, and refusals as our errors.

The client's own `hf_hub_download` begins anew after every interruption (since 1.18 a download has a file name
of its own, which is deleted on failure), so only its session is used.
"""

from __future__ import annotations

import contextlib
import logging
import re
import ssl
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
from edgeinfer.errors import DownloadFailed, EdgeinferError, Forbidden, ModelNotFound, Offline
from edgeinfer.hub.endpoint import Endpoint
from edgeinfer.hub.retries import RetryableError
from edgeinfer.log import escape
from edgeinfer.store.progress import size_text

for _name in ("httpx", "httpcore", "httpx2", "httpcore2"):
    # They log addresses, and that of a gated file at the hub's storage is as good as a key to it.
    logging.getLogger(_name).setLevel(logging.WARNING)

RETRYABLE_STATUSES = (408, 425, 429, 500, 502, 503, 504)
MAX_JSON_BYTES = 1 << 25
"""Bytes of an answer in JSON; a repository of a thousand files takes 1 MB."""


class HubConnection:
    """Raises Trouble for what may work later, EdgeinferError for what will not."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._headers = {"User-Agent": f"edgeinfer/{__version__}", "Accept-Encoding": "identity"}
        if endpoint.token:
            self._headers["Authorization"] = f"Bearer {endpoint.token}"

    def repo_json(self, repo: str, revision: str) -> bytes:
        """What the hub says of a repository at a revision."""
        path = f"/api/models/{repo}/revision/{percent_encoded(revision, safe='')}?blobs=true"
        with self._open(self.endpoint.url + path, {}, repo) as response:
            found = bytearray()
            for piece in response.iter_bytes():
                found += piece
                if len(found) > MAX_JSON_BYTES:
                    raise DownloadFailed(f"{self.endpoint.host} says more than can be about {repo}")
            return bytes(found)

    @contextlib.contextmanager
    def open_file(
        self, repo: str, file: str, revision: str, start: int, end: int | None = None
    ) -> Iterator[Any]:
        """The response with a file's bytes from `start` to before `end`, or from 0 where it ignores them."""
        url = f"{self.endpoint.url}/{repo}/resolve/{revision}/{percent_encoded(file)}"
        asked = (
            {} if not start and end is None else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        )
        with self._open(url, asked, repo) as response:
            if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                raise DownloadFailed(f"{_host(response)} sends the file as {escape(encoding)[:20]}")
            yield response

    @contextlib.contextmanager
    def _open(self, url: str, headers: dict[str, str], repo: str) -> Iterator[Any]:
        """The session follows redirects, and leaves the token out of those to another host."""
        if self.endpoint.offline:
            raise Offline(f"{repo} is not here, and the network is not to be used")
        silence = self.endpoint.retry_policy.read_timeout
        try:
            with get_session().stream(
                "GET", url, headers=self._headers | headers, timeout=silence, follow_redirects=True
            ) as response:
                if response.status_code != 200 and response.status_code != 206:
                    self._refused(response, repo)
                yield response
        except OfflineModeIsEnabled:  # by the client's own reading of the environment
            raise Offline(f"{repo} is not here, and the network is not to be used") from None
        except HTTPError as e:
            raise self._broken(e) from e

    def _broken(self, error: Exception) -> Exception:
        host, name = self.endpoint.host, type(error).__name__
        if _has_cause(error, ssl.SSLCertVerificationError):
            return DownloadFailed(
                f"{host} does not prove that it is {host}",
                hint="is the clock right? see: date; a proxy's certificate goes into SSL_CERT_FILE",
            )
        if "Timeout" in name:
            return RetryableError(f"{host} was silent for {self.endpoint.retry_policy.read_timeout:g} s")
        words = escape(str(error))[:200] or name
        return RetryableError(
            f"no connection to {host}: {words}" if name == "ConnectError" else f"{host}: {words}"
        )

    def _refused(self, response: Any, repo: str) -> NoReturn:
        status, host = response.status_code, _host(response)
        said = escape(response.headers.get("X-Error-Message") or "")[:200]
        if status in RETRYABLE_STATUSES:
            raise RetryableError(f"{host} answers {status}{f' ({said})' if said else ''}", _wait(response))
        raise self._refusal(status, response.headers.get("X-Error-Code"), said, host, repo)

    def _refusal(self, status: int, code: str | None, said: str, host: str, repo: str) -> EdgeinferError:
        endpoint = self.endpoint
        page = f"{endpoint.url}/{repo}"
        login = "hf auth login (or set HF_TOKEN)" if endpoint.public else "set HF_TOKEN to its key"
        if status == 416:
            return DownloadFailed(f"{host} has less of the file than it announced", hint="try again later")
        if host != endpoint.host:
            return DownloadFailed(
                f"{host}, where {endpoint.host} sent us, answers {status}", hint="try again"
            )
        if code == "GatedRepo":
            if endpoint.token:
                hint = f"ask for access at {page} with the account that the token belongs to, then try again"
            else:
                hint = f"accept the licence at {page}, then: {login}"
            return Forbidden(f"{repo} is only for those who accepted its licence", param="model", hint=hint)
        if code == "RevisionNotFound":
            return ModelNotFound(f"{repo} has no such revision", param="revision", hint=f"see {page}/commits")
        if code == "EntryNotFound":
            return ModelNotFound(f"{repo} has no such file", param="model", hint=f"see {page}/tree/main")
        if status == 401 and said.startswith("Invalid credentials"):
            what = "does not accept the token" if endpoint.token else "wants a key"
            return Forbidden(f"{host} {what}", param="HF_TOKEN", hint=login)
        if status in (401, 404):
            hint = f"is it spelt right? {page}"
            if not endpoint.token:
                hint += f"; for a private one: {login}"
            return ModelNotFound(
                f"{host} has no model {repo}, or shows it to others only", param="model", hint=hint
            )
        if status == 403:
            return Forbidden(f"{host} refuses {repo}{f': {said}' if said else ''}", param="model", hint=login)
        return DownloadFailed(f"{host} answers {status} for {repo}{f': {said}' if said else ''}")


def content_start(response: Any, size: int) -> int:
    """Where in the file the body begins.

    Raises:
        Trouble: it is no part of a file of `size` bytes: a portal's page, a truncated copy.
    """
    if response.status_code == 206:
        found = re.fullmatch(
            r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)", response.headers.get("Content-Range", "")
        )
        if not found:
            raise RetryableError(f"{_host(response)} does not say which part of the file it sends")
        start, total = int(found[1]), found[2]
        if total != "*" and int(total) != size:
            raise RetryableError(
                f"{_host(response)} has {size_text(int(total))} of a file of {size_text(size)}"
            )
        return start
    length = response.headers.get("Content-Length")
    if length is not None and length != str(size):
        raise RetryableError(f"{_host(response)} has {escape(length)[:20]} bytes of a file of {size}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise RetryableError(f"{_host(response)} sends a web page in place of the file")
    return 0


def _host(response: Any) -> str:
    """The host alone: the rest of an address may hold a signature."""
    return str(response.url.netloc.decode("ascii", "replace"))


def _has_cause(error: BaseException | None, cls: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, cls):
            return True
        error = error.__cause__ or error.__context__
    return False


def _wait(response: Any) -> float | None:
    """Seconds that the server asks to wait, by Retry-After or the hub's RateLimit header."""
    text = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds())
    if response.status_code == 429 and (
        found := re.search(r"\br=0\s*;\s*t=(\d{1,9})", response.headers.get("RateLimit", ""))
    ):
        return float(found[1])
    return None
