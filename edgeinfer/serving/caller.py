"""Who a request is from, as far as serving it depends on that."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable


class Caller:
    """The sender of a request. Two are equal if they have the same `id`.

    Attributes:
        id: requests with the same one share their turns.
        cache_domain: only prompts of the same domain use each other's cached prefixes.
        session: the name that the caller has given to a conversation, or "". Its prefix is kept longer than what the
            same caller's other requests leave.
    """

    __slots__ = ("cache_domain", "id", "session")

    def __init__(self, id: Hashable, cache_domain: str = "", session: str = "") -> None:
        self.id = id
        self.cache_domain = cache_domain
        self.session = session

    def __repr__(self) -> str:
        return f"<Caller {engine_name(self)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Caller) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


def engine_name(caller: Hashable) -> str:
    """The name by which an engine tells callers apart. It reveals neither keys nor addresses."""
    return opaque(repr(caller.id if isinstance(caller, Caller) else caller))


def cache_domain(caller: Hashable) -> str:
    return caller.cache_domain if isinstance(caller, Caller) else ""


def session_name(caller: Hashable) -> str:
    """The name by which an engine tells a caller's sessions apart; it does not reveal the caller's own."""
    session = caller.session if isinstance(caller, Caller) else ""
    return opaque(engine_name(caller), session) if session else ""


def opaque(*parts: str) -> str:
    """A short hash of the parts."""
    return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()[:32]
