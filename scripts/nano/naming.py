"""Names for made-up tools: nouns and parameter names, split by hash.

One part of each is never in training, so that the model can be tested on tools it has never seen.
"""

from __future__ import annotations

import hashlib
import random

from nouns import ABOUT, MODES, NAMES
from services import ALL
from skills import Param
from words import invented

UNSEEN_PERCENT = 20
KNOWN = frozenset(name for skill in ALL for param in skill.params for name in param.names)
PAIRS: dict[str, tuple[tuple[object, object], ...]] = {
    "on": (("on", "off"), ("on", "off"), ("turn_on", "turn_off"), ("start", "stop"), ("enable", "disable"),
           (True, False), (True, False)),
    "open": (("open", "close"), ("open", "close"), ("open", "closed"), ("raise", "lower"), (True, False)),
    "add": (("add", "remove"), ("insert", "delete"), ("put", "take"), ("add", "remove")),
}  # fmt: skip


def unseen(name: str) -> bool:
    """True if a noun or parameter name is kept for evaluation."""
    digest = hashlib.sha256(f"name {name}".encode()).digest()
    return name not in KNOWN and int.from_bytes(digest[:4], "big") % 100 < UNSEEN_PERCENT


def noun_of(nouns: tuple[str, ...], rng: random.Random, test: bool) -> str:
    fitting = [n for n in nouns if unseen(n) == test]
    if not test and rng.random() < 0.15:
        return invented(rng) + rng.choice(("", "", f" {rng.choice(fitting).split()[-1]}"))
    return rng.choice(fitting)


def slug(noun: str) -> str:
    return noun.replace(" ", "_")


def styled(name: str, rng: random.Random) -> str:
    """snake_case mostly; sometimes camelCase, or behind a prefix."""
    roll = rng.random()
    if roll < 0.15:
        head, *rest = name.split("_")
        return head + "".join(part.capitalize() for part in rest)
    if roll < 0.22:
        return f"{rng.choice(('home', 'device', 'plant', 'edge', 'iot', 'farm', 'my', 'api'))}_{name}"
    return name


def params(
    rng: random.Random,
    test: bool,
    *roles: str,
    pairs: str = "on",
    own: dict[str, tuple[str, ...]] | None = None,
) -> tuple[Param, ...]:
    """One parameter a role, with names from the wanted side of the split, no name twice.

    `own` are further names that suit the tool's noun.
    """
    taken: set[str] = set()
    found = []
    for role in roles:
        free = role.endswith("?")
        role = role.rstrip("?")
        for attempt in range(60):
            name = rng.choice((own or {}).get(role, NAMES[role]) if rng.random() < 0.6 else NAMES[role])
            roll = rng.random()
            if roll < 0.08 or attempt > 50:
                name = invented(rng)
            elif roll < 0.16 or (test and roll < 0.4):
                name = styled(f"{rng.choice(('target', 'new', 'the', 'wanted', 'set', 'given'))}_{name}", rng)
            if unseen(name) == test and name not in taken:
                break
        taken.add(name)
        told = name not in NAMES[role] and name not in (own or {}).get(role, ())
        kind = {"state": "state", "level": "number", "minutes": "number", "count": "number"}.get(
            role, "string"
        )
        choices: tuple[str, ...] = ()
        if role == "mode":
            choices = tuple(
                dict.fromkeys(
                    rng.choice(MODES) if rng.random() < 0.85 else invented(rng)
                    for _ in range(rng.randint(2, 4))
                )
            )
        found.append(
            Param(
                role,
                (name,),
                kind,
                ABOUT[role],
                not free,
                PAIRS[pairs] if kind == "state" else (),
                choices,
                told,
            )
        )
    return tuple(found)
