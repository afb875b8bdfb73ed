"""The table of attacks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tests.attacks import connections
from tests.attacks.target import Target

DAEMON, MIRROR = "daemon", "mirror"


class Attack(msgspec.Struct):
    """A row of the table.

    Attributes:
        run: attacks until `target.is_over()`.
        on: the kinds of target that it is made for.
        body: MB of the largest body that it sends; memory may be a small multiple of it.
    """

    name: str
    run: Callable[[Target], None]
    on: tuple[str, ...] = (DAEMON, MIRROR)
    body: float = 0.0


ATTACKS = (
    Attack("silent connections", connections.be_silent),
    Attack("heads that trickle in", connections.trickle_heads),
    Attack("bodies in chunks of one byte", connections.send_tiny_chunks),
    Attack("bodies that do not end", connections.send_unfinished_bodies),
    Attack("requests in one breath", connections.pipeline),
    Attack("readers that do not read", connections.do_not_read),
    Attack("connections that come and go", connections.come_and_go),
    Attack("data that is not HTTP", connections.send_nonsense),
    Attack("offers of other protocols", connections.offer_upgrades),
    Attack("requests that are cancelled", connections.cancel, on=(DAEMON,)),
)
"""All attacks. Their names are arguments of scripts/attack."""


def attack(name: str) -> Attack:
    return next(attack for attack in ATTACKS if attack.name == name)
