"""From a pattern to a sentence, and which patterns are kept for evaluation."""

from __future__ import annotations

import hashlib
import random
import re
from typing import Any

from nouns import COLORS, ITEMS, PEOPLE
from skills import Skill, Use
from words import CITIES, LABELS, QUANTITIES, article, device, invented, place

HELD_OUT_PERCENT = 10
TRIES = 200
CHOICE = re.compile(r"\[([^\[\]]*)\]")
NOUNS = {"pump": "pump", "valve": "valve", "relay": "relay", "lock": "door"}
FIRST = ("please ", "hey, ", "can you ", "could you ", "could you please ", "i want you to ", "ok, ",
         "now ", "i'd like you to ",
         "hi, ", "would you ", "just ", "you should ")  # fmt: skip
LAST = (" please", ", please", " now", " for me", " right now", ", thanks", " again", " immediately")
OPENERS = (
    "hey, ",
    "hi, ",
    "hello, ",
    "so ",
    "please tell me, ",
    "one question: ",
    "ok, ",
    "and ",
    "but ",
    "well, ",
    "sorry, ",
)
SUBJECTS = (
    "dinner",
    "lunch",
    "the meeting",
    "the train",
    "the bus",
    "the shift",
    "the film",
    "pump 3",
    "the delivery",
    "the cake",
)
ENDS = (
    "is ready",
    "starts in ten minutes",
    "is late",
    "has arrived",
    "is over",
    "is cancelled",
    "starts now",
    "will be late today",
)
TITLES = (
    "blue", "river", "night", "summer", "old", "city", "road", "dream", "silver", "king", "garden", "rain",
    "north", "little", "house", "green", "star", "winter", "last", "moon", "bridge", "golden", "island", "fire",
    "seven", "wild", "apple", "stone", "light", "south", "red", "wolf", "harbor", "paper", "glass", "iron",
)  # fmt: skip


def expand(pattern: str, rng: random.Random) -> str:
    """Replace each bracket by one of its alternatives."""
    while match := CHOICE.search(pattern):
        pattern = pattern[: match.start()] + rng.choice(match[1].split("|")) + pattern[match.end() :]
    return pattern


def held_out(phrase: str) -> bool:
    """Decide by hash, so that adding phrases moves none from one side to the other."""
    digest = hashlib.sha256(phrase.lower().strip(" ?.!").encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT


def choose(patterns: tuple[str, ...], rng: random.Random, test: bool | None) -> str | None:
    """One expanded pattern from the wanted side of the split (None: either), if there is one."""
    for _ in range(TRIES):
        phrase = expand(rng.choice(patterns), rng)
        if test is None or held_out(phrase) == test:
            return phrase
    return None


def values_for(skill: Skill, use: Use, rng: random.Random, places: tuple[str, ...]) -> dict[str, Any]:
    """A value for each role that a phrase of this skill may mention."""
    degrees = rng.randint(12, 28) + (0.5 if rng.random() < 0.2 else 0)
    level = rng.randrange(0, 101, 5) if rng.random() < 0.6 else rng.randint(1, 99)
    text = f"{rng.choice(SUBJECTS) if rng.random() < 0.6 else invented(rng)} {rng.choice(ENDS)}"
    city = rng.choice(CITIES) if rng.random() < 0.6 else invented(rng).capitalize()
    values: dict[str, Any] = {
        "place": rng.choice(places) if places else place(rng),
        "level": level, "degrees": degrees, "minutes": rng.choice((1, 2, 3, 5, 7, 8, 10, 12, 15, 20, 25, 30,
            45, 60, 90, rng.randint(1, 240))),
        "label": rng.choice(LABELS) if rng.random() < 0.6 else invented(rng),
        "quantity": rng.choice(QUANTITIES)[0] if rng.random() < 0.85 else invented(rng),
        "city": city, "text": text, "count": rng.randint(2, 60), "color": rng.choice(COLORS),
        "time": f"{rng.randint(0, 23)}:{rng.randrange(0, 60, rng.choice((1, 5, 15))):02d}",
        "item": rng.choice(ITEMS) if rng.random() < 0.6 else f"{rng.choice(('', '', 'a ', 'more '))}{invented(rng)}",
        "person": rng.choice(PEOPLE) if rng.random() < 0.6 else invented(rng).capitalize(),
        "query": title(rng),
    }  # fmt: skip
    for param in skill.params:
        if param.choices:
            values[param.role] = rng.choice(param.choices)
        if param.role == "name":
            values["name"] = device(rng, NOUNS.get(skill.key, skill.key.replace("_", " ")))
    if use.state is not None:
        values["state"] = use.state
    return values


def title(rng: random.Random) -> str:
    """A search query: one to three words, some of them invented."""

    def word() -> str:
        return invented(rng) if rng.random() < 0.5 else rng.choice(TITLES)

    words = [word() for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    return " ".join(words) if rng.random() < 0.5 else " ".join(w.capitalize() for w in words)


def fill(pattern: str, values: dict[str, Any], **more: str) -> str:
    """Put values into the slots."""
    slots = {k: v for k, v in values.items() if k != "state"} | more
    slots["the"] = article(values["place"])
    if "name" in values:
        slots["bare"] = values["name"]
        slots["name"] = article(values["name"])
        slots["Name"] = slots["name"][0].upper() + slots["name"][1:]
    return pattern.format_map(slots)


def mentioned(pattern: str, values: dict[str, Any]) -> dict[str, Any]:
    """Only the values in the phrase: arguments that it does not mention must not be made up."""
    alias = {"place": ("{place}", "{the}"), "name": ("{name}", "{bare}")}
    said = {r: v for r, v in values.items() if any(s in pattern for s in alias.get(r, ("{" + r + "}",)))}
    if "state" in values:
        said["state"] = values["state"]
    return said


def dress(text: str, rng: random.Random, polite: bool) -> str:
    """Vary what does not matter: politeness, case, the last mark."""
    question = text.endswith("?")
    if polite and not question:
        if rng.random() < 0.3:
            text = rng.choice(FIRST) + text
        if rng.random() < 0.2:
            text += rng.choice(LAST)
    elif rng.random() < 0.12:
        text = rng.choice(OPENERS) + text
    if question and rng.random() < 0.3:
        text = text[:-1]
    elif not question and rng.random() < 0.35:
        text += rng.choice((".", ".", "!"))
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
        text = re.sub(r"\bi\b", "I", text)
    if rng.random() < 0.05:
        text = text.replace("'", "")
    return typo(text, rng) if not polite and rng.random() < 0.06 else text


def typo(text: str, rng: random.Random) -> str:
    """Swap or drop one letter near the start, where no name is likely to be."""
    at = rng.randint(1, min(6, len(text) - 2)) if len(text) > 8 else 0
    if at and text[at].isalpha() and text[at + 1].isalpha():
        return text[:at] + (
            text[at + 1] + text[at] + text[at + 2 :] if rng.random() < 0.5 else text[at + 1 :]
        )
    return text
