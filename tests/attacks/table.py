"""The table of attacks."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tests.attacks import bodies, connections, work
from tests.attacks.target import Target

DAEMON, MIRROR = "daemon", "mirror"
MANY = 10
"""MB of a body that take time to encrypt."""


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

    @property
    def meets_tls(self) -> bool:
        """Whether encryption may make a difference: it is about connections, or about many bytes."""
        return self.run.__module__ == connections.__name__ or self.body >= MANY


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
    Attack("bodies of a million values", bodies.sender(bodies.many_values), (DAEMON,), body=16),
    Attack("as many values as allowed", bodies.sender(bodies.as_many_values_as_allowed), (DAEMON,), body=2),
    Attack("lists of wrong values", bodies.sender(bodies.wrong_values), (DAEMON,), body=1),
    Attack("objects of unknown names", bodies.sender(bodies.unknown_names), (DAEMON,), body=3),
    Attack("names, values and numbers of 16 MB", bodies.sender(bodies.long_texts), (DAEMON,), body=16),
    Attack("large bodies at once", bodies.send_many_at_once, (DAEMON,), body=16),
    Attack("JSON in JSON", bodies.sender(bodies.json_in_json), (DAEMON,), body=12),
    Attack("long conversations", bodies.sender(bodies.long_conversations), (DAEMON,), body=2),
    Attack("many tools", bodies.sender(bodies.many_tools), (DAEMON,), body=1),
    Attack("many answers", work.sender(work.many_answers), (DAEMON,)),
    Attack("many prompts", work.sender(work.many_prompts), (DAEMON,)),
    Attack("endless answers", work.sender(work.endless_answers), (DAEMON,)),
    Attack("long prompts", work.sender(work.long_prompts), (DAEMON,)),
    Attack("long inputs to embed", work.sender(work.long_inputs), (DAEMON,)),
    Attack("many inputs to embed", work.sender(work.many_inputs), (DAEMON,)),
    Attack("long texts to tokenize", work.sender(work.long_tokenizations), (DAEMON,)),
    Attack("long conversations to render", work.sender(work.long_templates), (DAEMON,)),
    Attack("hard schemas", work.sender(work.hard_grammars), (DAEMON,)),
    Attack("many answers with log-probabilities", bodies.sender(bodies.large_answers), (DAEMON,)),
)
"""All attacks. Their names are arguments of scripts/attack."""


def attack(name: str) -> Attack:
    return next(attack for attack in ATTACKS if attack.name == name)
