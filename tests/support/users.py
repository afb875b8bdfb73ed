"""Another user, whom root may become and give files to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NOBODY = 65534


def root_may_be_another() -> bool:
    """Whether the tests run as root, and there is another user: a user namespace may have root alone."""
    if os.geteuid() != 0:
        return False
    file = Path("/proc/self/uid_map")  # which only Linux has
    ranges = (
        [line.split() for line in file.read_text().splitlines()] if file.exists() else [["0", "0", "65535"]]
    )
    return any(int(first) <= NOBODY < int(first) + int(count) for first, _, count in ranges)


needs_another_user = pytest.mark.skipif(
    not root_may_be_another(),
    reason="only root can become another user or give files away, if there is another",
)
