"""Asks a Redis whether it would keep the head's state. Ray waits for a minute, and ends without a word why."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from edgeinfer.errors import ServiceFailed, SettingsError

TIMEOUT = 10.0
"""Seconds that it has to answer."""


def check_redis(address: str, password: str) -> None:
    """Say hello to the Redis at `address`. Over TLS (rediss://) it is only connected to: Ray checks the certificate.

    Raises:
        SettingsError: that is no address, or the password is wrong.
        ServiceFailed: nobody answers, or nobody who is a Redis.
    """
    try:
        parts = urlsplit(address if "://" in address else f"redis://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.scheme not in ("redis", "rediss") or parts.username or parts.path:
        raise SettingsError(
            "--redis takes an address and a port, and nothing else",
            param="redis",
            hint="such as 192.0.2.20:6379, or rediss://192.0.2.20:6379 for TLS",
        )
    try:
        with socket.create_connection((host, port), TIMEOUT) as sock:
            if parts.scheme == "redis":
                _check_replies(sock, address, password)
    except OSError as e:
        raise ServiceFailed(
            f"--redis: {address} cannot be reached: {e}",
            hint="is Redis running, and does a firewall let it be reached?",
        ) from e


def _check_replies(sock: socket.socket, address: str, password: str) -> None:
    with sock.makefile("rb") as replies:
        if password:
            sock.sendall(_command("AUTH", password))
            reply = _line(replies.readline(200))
            if reply != "+OK":
                raise SettingsError(
                    f"--redis-password-file: {address} does not take this password: {reply.lstrip('-')}",
                    param="redis_password_file",
                    hint="Redis has it in its configuration, as requirepass",
                )
        sock.sendall(_command("PING"))
        reply = _line(replies.readline(200))
    if reply.startswith("-NOAUTH"):
        raise SettingsError(
            f"--redis: {address} wants a password",
            param="redis",
            hint="--redis-password-file FILE names the file that has it",
        )
    if reply != "+PONG":
        raise ServiceFailed(
            f"--redis: {address} does not answer as Redis does: {reply.lstrip('-') or 'nothing'}"
        )


def _command(*words: str) -> bytes:
    """A command as Redis reads it: an array of strings, each with its length."""
    encoded: Sequence[bytes] = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)


def _line(reply: bytes) -> str:
    return reply.decode(errors="replace").strip()
