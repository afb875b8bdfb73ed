"""Loads a TLS certificate and its key, and loads them again when the files change."""

from __future__ import annotations

import logging
import ssl
import stat
from asyncio import sslproto
from pathlib import Path

from edgeinfer.errors import SettingsError
from edgeinfer.server.http.sockets import is_loopback
from edgeinfer.server.http.tls_files import unusable
from edgeinfer.settings import Settings

CHECK_INTERVAL = 30
"""Seconds between two checks whether the files have changed."""

BUFFER_SIZE = 16384
"""Bytes that are read from a TLS connection at a time."""

# asyncio has a buffer of 256 KiB for each TLS connection, even before the handshake, and no option for it.
sslproto.SSLProtocol.max_size = BUFFER_SIZE

logger = logging.getLogger(__name__)


def certificate(settings: Settings) -> Certificate | None:
    """The daemon's certificate; None for plain HTTP, which is always used on a unix socket.

    Raises:
        SettingsError: the files cannot be used.
    """
    if settings.uds is not None:
        return None
    if settings.tls_cert is None:
        if settings.tls_key is not None:
            raise SettingsError(
                "tls_key has no effect without tls_cert", param="tls_key", hint="give tls_cert as well"
            )
        if not is_loopback(settings.host):
            logger.warning("keys and prompts cross the network unencrypted; hint: set tls_cert and tls_key")
        return None
    return Certificate(Path(settings.tls_cert), Path(settings.tls_key) if settings.tls_key else None)


class Certificate:
    """A certificate that is renewed in place. `key` is None if the certificate's file holds it.

    Attributes:
        context: used by listening sockets; it stays the same object when the files are read again.
    """

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert = cert
        self._key = key
        self.context = self._load()
        self._stamp = self._stamps()
        self._warn_of_readers()

    async def renew(self) -> None:
        """Load the files again if they have changed; if they cannot be used, the old certificate stays."""
        try:
            if (stamp := self._stamps()) == self._stamp:
                return
            self._load()  # into another context first: the key may not have been written yet
            self._load(self.context)
        except (OSError, SettingsError) as e:
            logger.error("the old certificate stays in use: %s", e)
            return
        self._stamp = stamp
        logger.info("the certificate in %s was renewed", self._cert)

    def _load(self, context: ssl.SSLContext | None = None) -> ssl.SSLContext:
        loaded = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and above
        try:
            loaded.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
            raise unusable(self._cert, self._key, e) from e
        return loaded

    def _stamps(self) -> list[tuple[int, int]]:
        files = [self._cert, self._key] if self._key else [self._cert]
        statuses = [file.stat() for file in files]
        return [(status.st_ino, status.st_mtime_ns) for status in statuses]

    def _warn_of_readers(self) -> None:
        secret = self._key or self._cert
        if secret.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            logger.warning("other users can read the key in %s; hint: chmod 600 %s", secret, secret)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # OpenSSL would ask a terminal
