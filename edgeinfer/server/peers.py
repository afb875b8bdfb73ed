"""Other boards that the settings name, and how they are: the daemon asks them, as the page may not."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from edgeinfer.errors import SettingsError
from edgeinfer.server.auth.key_file import warn_of_readers
from edgeinfer.settings import Settings

if TYPE_CHECKING:
    import httpx

TIMEOUT = 3.0
"""Seconds that a board may take to answer."""

MAX_AGE = 2.0
"""Seconds for which an answer is kept, however many ask."""

MAX_BYTES = 1 << 20
"""Bytes of an answer."""

MAX_REASON = 300
"""Characters of the reason that a board gives."""

_ADDRESS = re.compile(r"https?://[^\s/?#@,]+")
_KEY = re.compile(r"[!-~]+")

PeerCondition = Literal["answers", "unreachable", "needs a key", "wrong key", "no edgeinfer"]


Count = Annotated[int, Meta(ge=0, lt=2**53)]
"""A number that the page can show, and that can be divided."""

Words = Annotated[str, Meta(max_length=1000)]


class PeerStats(Struct):
    """The figures of one of its models."""

    running: Count = 0
    waiting: Count = 0
    completion_tokens_total: Count = 0


class PeerModel(Struct):
    name: Words = ""


class PeerRow(Struct):
    stats: PeerStats = msgspec.field(default_factory=PeerStats)


class PeerStatus(Struct):
    """What is read of a board's /status. One with another version may have more."""

    version: Words
    pid: Count
    state: Words = "unknown"
    reason: str | None = None
    uptime: float = 0.0
    restarts: Count = 0
    model: PeerModel | None = None
    models: list[PeerRow] = msgspec.field(default_factory=list)


class Peer(Struct, frozen=True):
    """Another board, or a node of the fleet.

    Attributes:
        url: as the settings name it; "" for a node, which has no page of its own.
        condition: whether it answers, or why not.
        problem: what is wrong, in words.
        state: of its default model.
        model: the default model, while it is loaded.
        tokens_per_second: generated since the last look; null at the first one.
        uptime: seconds.
        node: the name of the machine, if it is a node.
    """

    url: str
    condition: PeerCondition
    problem: str | None = None
    version: str | None = None
    state: str | None = None
    model: str | None = None
    running: int = 0
    waiting: int = 0
    tokens_per_second: float | None = None
    restarts: int = 0
    uptime: float | None = None
    node: str | None = None


class Peers:
    """Asks the boards that the settings name, and no other address: redirections are not followed.

    Each gets the key that the key file has for it, never one of a request.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError."""
        self._urls = parse_peers(settings.peers)
        self._keys = read_keys(settings.peer_key_file, self._urls)
        self._lock = asyncio.Lock()
        self._found: Sequence[Peer] = ()
        self._looked = -MAX_AGE
        self._totals: dict[str, tuple[int, int, float]] = {}

    async def get(self) -> Sequence[Peer]:
        """How they are, in the order of the settings."""
        async with self._lock:
            if self._urls and time.monotonic() >= self._looked + MAX_AGE:
                import httpx  # needed only where there are others; it takes 4 MB

                async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
                    self._found = await asyncio.gather(*(self._ask(client, url) for url in self._urls))
                self._looked = time.monotonic()
            return self._found

    async def _ask(self, client: httpx.AsyncClient, url: str) -> Peer:
        import httpx

        key = self._keys.get(url)
        headers = {"accept-encoding": "identity"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            status, body = await asyncio.wait_for(_fetch(client, f"{url}/status", headers), TIMEOUT)
        except (httpx.HTTPError, OSError, asyncio.TimeoutError) as e:
            return Peer(url, "unreachable", _why(e))
        if status == 401:
            return _wants_key(url, has_one=key is not None)
        try:
            found = msgspec.json.decode(body, type=PeerStatus)
        except (msgspec.DecodeError, RecursionError):
            return Peer(
                url, "no edgeinfer", f"its answer, with status {status}, is not that of an edgeinfer daemon"
            )
        return Peer(
            url,
            "answers",
            found.reason[:MAX_REASON] if found.reason else None,
            found.version,
            found.state,
            found.model.name if found.model else None,
            sum(row.stats.running for row in found.models),
            sum(row.stats.waiting for row in found.models),
            self._rate(url, found),
            found.restarts,
            found.uptime,
        )

    def _rate(self, url: str, status: PeerStatus) -> float | None:
        """Tokens per second since the last look."""
        now, total = time.monotonic(), sum(row.stats.completion_tokens_total for row in status.models)
        before = self._totals.get(url)
        self._totals[url] = status.pid, total, now
        if before is None or before[0] != status.pid:
            return None
        return round(max(0, total - before[1]) / (now - before[2]), 2)


async def _fetch(client: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    async with client.stream("GET", url, headers=headers) as response:
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MAX_BYTES:
                return response.status_code, b""
        return response.status_code, body


def _wants_key(url: str, *, has_one: bool) -> Peer:
    if has_one:
        return Peer(url, "wrong key", "it does not know the key that peer_key_file has for it")
    return Peer(
        url,
        "needs a key",
        f"make one there with `edgeinfer key add NAME`, and write {url} KEY into peer_key_file",
    )


def _why(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.TimeoutException | asyncio.TimeoutError):
        return f"it does not answer within {TIMEOUT:g} s"
    if isinstance(error.__cause__, ssl.SSLError) or "CERTIFICATE" in str(error):
        return "this machine does not trust its certificate"
    return "nothing answers at this address"


def parse_peers(text: str) -> list[str]:
    """The addresses in the setting `peers`. Raises SettingsError."""
    urls = []
    for part in filter(None, (part.strip().rstrip("/") for part in text.split(","))):
        if not (_ADDRESS.fullmatch(part) and _is_url(part)):
            hint = "write http:// or https://, a name or an address, and a port: http://pi5.local:11435"
            raise SettingsError(f"peers: {part!r} is not the address of a board", param="peers", hint=hint)
        urls.append(part)
    return list(dict.fromkeys(urls))


def _is_url(text: str) -> bool:
    """Tell whether a machine could have the address: its port exists, and its name can be asked for."""
    import httpx

    try:
        url = httpx.URL(text)
        return bool(url.host) and url.port in (None, *range(1, 1 << 16))
    except (httpx.InvalidURL, ValueError):
        return False


def read_keys(path: str | None, urls: Sequence[str]) -> dict[str, str]:
    """The keys in a file, by address. Raises SettingsError."""
    if not path:
        return {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        problem = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise SettingsError(f"peer_key_file {path}: {problem}", param="peer_key_file") from e
    warn_of_readers(Path(path))
    keys = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        url, _, key = line.strip().partition(" ")
        url, key = url.rstrip("/"), key.strip()
        if url not in urls or not _KEY.fullmatch(key):
            raise SettingsError(
                f"peer_key_file {path}: line {number} is not an address from `peers` and its key",
                param="peer_key_file",
                hint="write on each line: http://pi5.local:11435 KEY",
            )
        keys[url] = key
    return keys
