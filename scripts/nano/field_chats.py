"""Conversations with the tools of a field: commands, several at once, and those that none of them can do."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
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

REFUSED = 0.3
"""Of the requests; fewer, and the model calls some tool for whatever it is asked."""


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


@cache
def examined() -> frozenset[str]:
    """What the commands of exam.json say, as `plain` writes it."""
    exam = json.loads(Path(__file__).with_name("exam.json").read_text())
    return frozenset(plain(command["say"]) for tools in exam for command in tools["commands"])


def plain(text: str) -> str:
    return text.lower().strip(" ?.!")


def opened(rng: random.Random, test: bool) -> tuple[Chat, list[Declared]]:
    chat = Chat()
    tools = {d.name: d for d in (declare(t, rng) for t in toolbox(rng, test))}
    chat.tools = list(tools.values())
    return chat, list(tools.values())


def command(chat: Chat, tools: list[Declared], rng: random.Random) -> list[Asked]:
    """One to three things that the tools can do, in one sentence that is not in the exam."""
    count = rng.choices((1, 2, 3), (90, 8, 2))[0]
    asked = [tool.ask(rng) for tool in rng.sample(tools, min(count, len(tools)))]
    while len(asked) > 1 and any(a.ends_free or a.text.endswith("?") for a in asked[:-1]):
        asked.pop(0)
    said = asked[0].text
    for one in asked[1:]:
        joint = rng.choice((" and ", ", ", " and then ", ", then ", "; ", ". "))
        as_is = one.opens_free or one.text.startswith("I ")
        changed = capital(one.text) if joint == ". " else one.text[0].lower() + one.text[1:]
        said = said.rstrip(".!") + joint + (one.text if as_is else changed)
    if plain(said) in examined():
        return command(chat, tools, rng)
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
    said = declare(other, rng).ask(rng).text
    if plain(said) in examined():
        return
    chat.say("user", said)
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


def form(rng: random.Random) -> Chat:
    """Sentences without a tool in sight, each answered by a JSON object of the values in it.

    So a daemon has the model answer where a client demands a form; the keys are the client's.
    """
    chat = Chat(kind="form")
    if rng.random() < 0.25:
        chat.say("system", rng.choice(SYSTEMS))
    for _ in range(rng.randint(4, 8)):
        home = fields(False)[rng.choice(list(fields(False)))]
        asked = declare(rng.choice(home), rng).ask(rng)
        arguments = asked.call["arguments"]
        if arguments and plain(asked.text) not in examined():
            answer = json.dumps(arguments, ensure_ascii=False)
            chat.alternatives.append(
                [{"role": "user", "content": asked.text}, {"role": "assistant", "content": answer}]
            )
    return chat


def field_chat(rng: random.Random) -> Chat:
    """A conversation with one set of tools: one to eight exchanges, or as many first ones side by side.

    An app's first command is the usual case, so most are of the second kind: the tools,
    which are most of the text, are then read once for all of them.
    """
    chat, tools = opened(rng, False)
    if rng.random() < 0.25:
        chat.say("system", rng.choice(SYSTEMS))
    if rng.random() < 0.7:
        begun = len(chat.messages)
        for _ in range(rng.randint(5, 9)):
            exchange(chat, tools, rng)
            chat.alternatives.append(chat.messages[begun:])
            del chat.messages[begun:]
        return chat
    for _ in range(rng.choices(range(1, 9), (20, 17, 16, 14, 12, 9, 7, 5))[0]):
        exchange(chat, tools, rng)
    return chat


def exchange(chat: Chat, tools: list[Declared], rng: random.Random) -> None:
    """A command and the calls for it, sometimes with the report on them, or a request that is declined."""
    if rng.random() < REFUSED:
        refuse(chat, tools, rng, False)
        return
    asked = command(chat, tools, rng)
    if rng.random() < (0.08 if chat.alternatives else 0.3):
        reply(asked, {d.name: d for d in tools}, chat, rng)
