"""Tools made up on the spot: a frame (switch, set, read, send, ...), a noun, and parameter names."""

from __future__ import annotations

import random

from frames import FRAMES, amount, read
from naming import noun_of
from skills import Skill


def made(rng: random.Random, test: bool) -> Skill:
    """A skill of any frame; with `test` its noun and parameter names are of those never trained on."""
    frame, nouns = rng.choice(FRAMES)
    return frame(rng, noun_of(nouns, rng, test), test)


def counterpart(skill_: Skill, rng: random.Random, test: bool) -> Skill | None:
    """The tool to read what this one sets, or the reverse: same noun, other call."""
    group, noun = skill_.group.split(":", 1) if skill_.made else ("", "")
    if group == "set":
        return read(rng, noun, test)
    if group == "read":
        return amount(rng, noun, test)
    return None


def alike(one: Skill, other: Skill) -> bool:
    """True if two skills might answer the same phrase."""
    if one.group == other.group:
        return True
    kinds = {one.group.split(":")[0], other.group.split(":")[0]}
    if kinds in ({"sensor", "read"}, {"announce", "message"}):
        return True
    same = one.made and other.made and one.key == other.key
    return same and kinds != {"set", "read"}
