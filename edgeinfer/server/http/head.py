"""Checks what the parser leaves open about a request's head: its Host and the form of its target."""

from __future__ import annotations

from edgeinfer.errors import InvalidRequest

Headers = list[tuple[bytes, bytes]]

SCHEMES = (b"http://", b"https://")


def check_host(version: str, headers: Headers) -> None:
    """Raise InvalidRequest unless there is exactly one Host; HTTP/1.0 may do without."""
    count = sum(name == b"host" for name, _ in headers)
    if count > 1 or (count == 0 and version != "1.0"):
        raise InvalidRequest("a request needs exactly one Host header", param="Host")


def to_origin_form(target: bytes, headers: Headers) -> bytes:
    """Return a target without scheme and host, as programs send them to proxies, and adapt the Host in `headers`.

    The host in the target takes precedence (RFC 9112, 3.2.2), so it is what TrustedHostMiddleware must see.

    Raises:
        InvalidRequest: the target is neither a path nor such a URL.
    """
    if target.startswith(b"/"):
        return target
    scheme = next((scheme for scheme in SCHEMES if target[: len(scheme)].lower() == scheme), None)
    if scheme is None:
        raise InvalidRequest("the request's target is neither a path nor an http URL")
    rest = target[len(scheme) :]
    end = min((place for place in map(rest.find, (b"/", b"?", b"#")) if place >= 0), default=len(rest))
    host, path = rest[:end], rest[end:]
    headers[:] = [(b"host", host), *((name, value) for name, value in headers if name != b"host")]
    return path if path.startswith(b"/") else b"/" + path
