"""TLS from files: a certificate and its key, read again when they are renewed."""

from __future__ import annotations

import logging
import ssl
import stat
from pathlib import Path

from edgeinfer.errors import SettingsError
from edgeinfer.server.http.sockets import is_loopback
from edgeinfer.settings import Settings

LOOK_EVERY = 30
"""Seconds after which the files may have changed."""

logger = logging.getLogger(__name__)


def certificate(settings: Settings) -> Certificate | None:
    """What the daemon shows its clients; None where it speaks plain HTTP, as it always does on a unix socket.

    Raises:
        SettingsError: the files are of no use.
    """
    if settings.uds is not None:
        return None
    if settings.tls_cert is None:
        if settings.tls_key is not None:
            raise SettingsError("tls_key is of no use without tls_cert", param="tls_key")
        if not is_loopback(settings.host):
            logger.warning(
                "keys and prompts cross the network readable for all on the way; hint: set tls_cert and tls_key"
            )
        return None
    return Certificate(Path(settings.tls_cert), Path(settings.tls_key) if settings.tls_key else None)


class Certificate:
    """`key` may be None: it then stands in the certificate's file.

    Attributes:
        context: what listening sockets use; it stays the same when the files are read again.
    """

    def __init__(self, cert: Path, key: Path | None) -> None:
        self._cert = cert
        self._key = key
        self.context = self._load()
        self._stamp = self._stamps()
        self._warn_of_readers()

    async def renew(self) -> None:
        """Serve new connections with what the files hold now; with what they held, if that is of no use."""
        try:
            if (stamp := self._stamps()) == self._stamp:
                return
            self._load()  # apart, or a key that is still to come would spoil what is in use
            self._load(self.context)
        except (OSError, SettingsError) as e:
            logger.error("the old certificate stays: %s", e)
            return
        self._stamp = stamp
        logger.info("the certificate in %s was renewed", self._cert)

    def _load(self, context: ssl.SSLContext | None = None) -> ssl.SSLContext:
        loaded = context or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 and above
        try:
            loaded.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as e:  # ssl.SSLError is an OSError
            files = f"{self._cert} and {self._key}" if self._key else str(self._cert)
            raise SettingsError(f"tls_cert: {files}: {e}", param="tls_cert") from e
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
    raise ValueError("the key is encrypted, and a service has nobody to ask for its password")
