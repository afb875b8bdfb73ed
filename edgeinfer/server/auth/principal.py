"""Identifies who sent a request: by its key, or else by its address."""

from __future__ import annotations

import ipaddress
from collections.abc import Hashable
from typing import NamedTuple

from starlette.types import Scope

from edgeinfer.server.auth.keys import Key
from edgeinfer.server.http.headers import header_values
from edgeinfer.serving.caller import Caller, opaque

_IN_SCOPE = "edgeinfer.caller"


class Principal(NamedTuple):
    """The sender of a request. Limits and turns are counted by `id`.

    Attributes:
        id: one for each key, and for each address without a key. An IPv6 host may use many addresses of its
            network, so these count together.
        label: for the log: `laptop@192.168.1.7`, or the address alone.
        cache_domain: only prompts of the same domain use each other's cached prefixes. Each key has its own, since
            the time that a prompt takes tells whether another has begun alike.
        session: a hash of the header X-Session-Id, or "".
    """

    id: Hashable
    label: str
    key: Key | None = None
    cache_domain: str = ""
    session: str = ""

    def caller(self, cache_salt: str | None = None, session: object = None) -> Caller:
        """The sender for serving. Requests with the same salt share prefixes, whichever keys they come with.

        `session` names the conversation where the request's header does not; anything but a text names none.
        """
        domain = opaque("salt", cache_salt) if cache_salt else self.cache_domain
        named = opaque("session", session) if isinstance(session, str) and session else ""
        return Caller(self.id, domain, self.session or named)


def principal_of(scope: Scope) -> Principal:
    """The principal of a request, which is determined once."""
    principal = scope.get(_IN_SCOPE)
    if principal is None:
        address = _address(scope)
        principal = scope[_IN_SCOPE] = Principal(_network(address), address, session=_session(scope))
    assert isinstance(principal, Principal)
    return principal


def name_principal(scope: Scope, key: Key, *, share_prefixes: bool = False) -> None:
    """Record that this request came with `key`. `share_prefixes`: all keys use each other's cached prefixes."""
    domain = "" if share_prefixes else opaque("key", key.digest.hex())
    scope[_IN_SCOPE] = Principal(key.digest, f"{key.name}@{_address(scope)}", key, domain, _session(scope))


def _session(scope: Scope) -> str:
    ids = header_values(scope, b"x-session-id")
    return opaque("session", ids[0].decode("latin-1")) if ids and ids[0] else ""


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unix"


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
