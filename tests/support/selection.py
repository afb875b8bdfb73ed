"""Which values of a parameter the tests of a run have."""

from __future__ import annotations

import pytest


def selected(request: pytest.FixtureRequest, parameter: str) -> list[str]:
    """The values for which this run uses the fixture: what it prepares for others would be for nothing."""
    found = [
        str(item.callspec.params[parameter])
        for item in request.session.items
        if item.path == request.path
        and isinstance(item, pytest.Function)
        and request.fixturename in item.fixturenames
        and hasattr(item, "callspec")
    ]
    return list(dict.fromkeys(found))
