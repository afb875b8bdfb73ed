"""Conversations with the tools of a field: commands, several at once, and those that none of them can do."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

from answers import DONE, FAILURES, capital
from beyond import NONE_FITS
from declare import Asked, Declared, declare
from fields import READING, FieldTool, fields
from turns import SYSTEMS, Chat, assistant_calls
from values import common, scrambled

PLAIN = READING | frozenset(
    ("set", "start", "stop", "open", "close", "turn", "change", "make", "add", "remove", "delete", "send", "new", "control", "the",
     "a", "of", "to", "for", "on", "off", "up", "down", "in", "out", "by", "with", "and", "run", "do", "put", "take", "go", "move",
     "create", "cancel", "adjust", "switch", "mode", "state", "level", "value", "all", "now", "next", "from", "at", "it", "an")
)  # fmt: skip


@cache
def subject(tool: FieldTool) -> frozenset[str]:
    """The words that say what a tool is about."""
    return frozenset(word for name in tool.names for word in name.split("_")) - PLAIN


def foreign(tools: list[FieldTool], rng: random.Random, test: bool) -> FieldTool | None:
    """A tool of another field that has no word in common with these."""
    homes = fields(test)
    for _ in range(8):
        other = rng.choice(homes[rng.choice(list(homes))])
        if all(other.field != tool.field and not subject(other) & subject(tool) for tool in tools):
            return other
    return None


def toolbox(rng: random.Random, test: bool) -> list[FieldTool]:
    """One to eight tools, most of them neighbours in one field."""
    homes = fields(test)
    home = homes[rng.choice(list(homes))]
    count = rng.choices(range(1, 8), (8, 18, 28, 23, 14, 6, 3))[0]
    chosen = rng.sample(home, min(count, len(home)))
    if rng.random() < 0.15:
        chosen = chosen[:1]
        more = count - 1
    else:
        more = rng.choice((1, 1, 2)) if rng.random() < 0.25 and count < 6 else 0
    for _ in range(more):
        other = foreign(chosen, rng, test)
        chosen += [other] if other else []
    rng.shuffle(chosen)
    return chosen


def opened(rng: random.Random, test: bool) -> tuple[Chat, list[Declared]]:
    chat = Chat()
    tools = {d.name: d for d in (declare(t, rng) for t in toolbox(rng, test))}
    chat.tools = list(tools.values())
    return chat, list(tools.values())


def command(chat: Chat, tools: list[Declared], rng: random.Random) -> list[Asked]:
    """One to three things that the tools can do, in one sentence."""
    count = rng.choices((1, 2, 3), (90, 8, 2))[0]
    asked = [tool.ask(rng) for tool in rng.sample(tools, min(count, len(tools)))]
    while len(asked) > 1 and any(a.ends_free or a.text.endswith("?") for a in asked[:-1]):
        asked.pop(0)
    said = asked[0].text
    for one in asked[1:]:
        joint = rng.choice((" and ", ", ", " and then ", ", then ", "; ", ". "))
        plain = one.opens_free or one.text.startswith("I ")
        changed = capital(one.text) if joint == ". " else one.text[0].lower() + one.text[1:]
        said = said.rstrip(".!") + joint + (one.text if plain else changed)
    chat.say("user", said)
    assistant_calls(chat, [a.call for a in asked])
    chat.kind = "call"
    return asked


def refuse(chat: Chat, tools: list[Declared], rng: random.Random, test: bool) -> None:
    """What a neighbour could do that is not declared, or something from elsewhere."""
    given = [d.tool for d in tools]
    absent = [t for t in fields(test)[rng.choice(given).field] if t not in given]
    other = rng.choice(absent) if absent and rng.random() < 0.6 else foreign(given, rng, test)
    if other is None:
        return
    chat.say("user", declare(other, rng).ask(rng).text)
    chat.say("assistant", NONE_FITS)
    chat.kind = "refuse"


def reply(asked: list[Asked], tools: dict[str, Declared], chat: Chat, rng: random.Random) -> None:
    """What the tools answered, and the sentence that reports it."""
    said = []
    for one in asked:
        if rng.random() < 0.08:
            why = rng.choice(FAILURES)
            content, report = (
                rng.choice((json.dumps({"error": why}), f"error: {why}", f"Error: {why}")),
                f"That failed: {why}.",
            )
        elif tools[one.call["name"]].tool.reads:
            content, report = reading(rng)
        else:
            content, report = rng.choice(DONE), f"Done: {one.done}."
        chat.messages.append({"role": "tool", "content": content})
        said.append(report)
    chat.say("assistant", " ".join(said))


def reading(rng: random.Random) -> tuple[str, str]:
    """A tool's finding, and the report that repeats it."""
    roll = rng.random()
    if roll < 0.5:
        number: Any = rng.choice((round(rng.uniform(0, 99), 1), rng.randint(0, 2000)))
        unit = rng.choice(("°C", "%", "bar", "V", "ppm", "kg", "km", "lux", "l/min", "W", ""))
        text = f"{number} {unit}".strip()
        key = rng.choice(("value", "result", "level", "reading", common(rng, "things")))
        wrapped: dict[str, Any] = {key: number} | ({"unit": unit} if unit else {})
        return rng.choice((text, json.dumps(wrapped, ensure_ascii=False))), f"It is {text}."
    words = [common(rng, rng.choice(("things", "names", "foods", "adjectives"))) if rng.random() < 0.85 else scrambled(rng)
             for _ in range(rng.choice((1, 1, 2, 3)))]  # fmt: skip
    key = rng.choice(("result", "items", "found", "status"))
    return rng.choice(
        (", ".join(words), json.dumps({key: words if len(words) > 1 else words[0]}))
    ), f"It says: {', '.join(words)}."


def field_chat(rng: random.Random) -> Chat:
    """A conversation of one to eight commands with one set of tools."""
    chat, tools = opened(rng, False)
    if rng.random() < 0.25:
        chat.say("system", rng.choice(SYSTEMS))
    by_name = {d.name: d for d in tools}
    for _ in range(rng.choices(range(1, 9), (20, 17, 16, 14, 12, 9, 7, 5))[0]):
        if rng.random() < 0.17:
            refuse(chat, tools, rng, False)
            continue
        asked = command(chat, tools, rng)
        if rng.random() < 0.3:
            reply(asked, by_name, chat, rng)
    return chat
