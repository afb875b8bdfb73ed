"""Tells what a caller may do to the models that all callers share."""

from __future__ import annotations

from edgeinfer.errors import Forbidden
from edgeinfer.server.auth.principal import Principal


def may_administer(principal: Principal) -> bool:
    """True for an admin key, and for everybody where no keys are required."""
    return principal.key is None or principal.key.admin


def check_admin(principal: Principal, action: str) -> None:
    """Raises Forbidden if keys are required and this one is not an admin key. `action`: "download models"."""
    if not may_administer(principal):
        assert principal.key
        raise Forbidden(
            f"the key {principal.key.name!r} may not {action}",
            hint="use one made with: edgeinfer key add NAME --admin",
        )
