"""Keeps a cluster at 127.0.0.1 there: Ray puts this machine's address in its network in its place, for all to reach."""

from __future__ import annotations


def keep_loopback() -> None:
    """Take addresses as they are, in this process."""
    from ray._private import services

    services.resolve_ip_for_localhost = lambda host: host
