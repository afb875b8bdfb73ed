"""Conversations: the grammar, the made-up tools and the word lists put together, from a fixed seed.

`conversations(seed, n)` draws training data. `known`, `unseen`, `refusals` and `chats`
draw single turns that training never sees: phrases, or nouns and parameter names,
that the split by hash keeps for evaluation.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

from field_chats import field_chat, form, opened
from grammar import dress
from made import alike, counterpart, made
from services import ALL
from skills import Skill, Tool, draw_tools
from turns import SYSTEMS, Chat, about, act, ask, assistant_calls, command, outside, refuse
from words import place

FIELD_SHARE = 0.7
"""Of conversations whose tools are written by hand, field by field; others have tools of the grammar."""

FORM_SHARE = 0.05


def draw_toolbox(rng: random.Random, share: float, test: bool = False) -> tuple[list[Tool], tuple[str, ...]]:
    """One to five tools that don't compete for the same phrase; `share` of them are made up.

    For evaluation, made-up tools come from the names never trained on, others have names that were.
    """
    places = tuple(dict.fromkeys(place(rng) for _ in range(rng.randint(2, 5)))) if rng.random() < 0.12 else ()
    count, chosen = rng.choice((1, 1, 2, 2, 2, 3, 3, 4)), list[Skill]()
    for _ in range(20):
        skill = made(rng, test) if rng.random() < share else rng.choice(ALL)
        if not any(alike(skill, other) for other in chosen):
            chosen.append(skill)
            other = counterpart(skill, rng, test) if rng.random() < 0.15 else None
            chosen += [other] if other and not any(alike(other, c) for c in chosen) else []
        if len(chosen) >= count:
            break
    tools = [tool for skill in chosen for tool in draw_tools(skill, rng, places, plain=test)]
    rng.shuffle(tools)
    unique = {tool.name: tool for tool in tools}
    return list(unique.values()), places


def start(rng: random.Random, share: float | None, test: bool = False) -> Chat:
    """An empty conversation, without tools if the share of made-up ones is None."""
    chat = Chat()
    if share is not None:
        chat.tools, chat.places = draw_toolbox(rng, share, test)
    if rng.random() < 0.35:
        chat.say("system", rng.choice(SYSTEMS))
    return chat


def conversations(seed: int, count: int) -> Iterator[Chat]:
    """Training conversations of one to six exchanges."""
    rng = random.Random(seed)
    for _ in range(count):
        roll = rng.random()
        if roll < FIELD_SHARE + FORM_SHARE:
            yield field_chat(rng) if roll < FIELD_SHARE else form(rng)
            continue
        share = rng.choice((0.0, 0.0, 1.0, 1.0, 0.5)) if rng.random() < 0.75 else None
        chat = start(rng, share)
        turns = rng.choice((1, 1, 2, 2, 3, 4))
        for turn in range(turns):
            roll = rng.random()
            if not chat.tools:
                about(chat, rng) if roll < 0.66 else outside(chat, rng) if roll < 0.84 else refuse(chat, rng)
            elif roll < 0.67:
                act(chat, rng, turn == turns - 1)
            elif roll < 0.88:
                refuse(chat, rng)
            elif roll < 0.90:
                ask(chat, rng)
            else:
                about(chat, rng) if roll < 0.96 else outside(chat, rng)
        if any(m["role"] == "user" for m in chat.messages):
            yield chat


def _drawn(count: int, draw: Callable[[int], Chat | None]) -> Iterator[Chat]:
    made_so_far = 0
    while made_so_far < count:
        chat = draw(made_so_far)
        if chat is not None and chat.kind:
            made_so_far += 1
            yield chat


def _asked(rng: random.Random, chat: Chat, test: bool | None) -> Chat | None:
    found = command(chat, rng, test)
    if found is None:
        return None
    chat.say("user", dress(found.text, rng, polite=found.skill.key != "announce"))
    assistant_calls(chat, [found.call])
    chat.kind = "call"
    return chat


def known(seed: int, count: int) -> Iterator[Chat]:
    """Commands to tools of the grammar, in phrases never trained on; the last message is the call."""
    rng = random.Random(seed)
    return _drawn(count, lambda _: _asked(rng, start(rng, 0.0, test=True), True))


def unseen(seed: int, count: int) -> Iterator[Chat]:
    """Commands to tools whose nouns and parameter names were never trained on."""
    rng = random.Random(seed)
    return _drawn(count, lambda _: _asked(rng, start(rng, 1.0, test=True), None))


def by_hand(seed: int, count: int) -> Iterator[Chat]:
    """Commands to tools of the fields that are kept from training."""
    rng = random.Random(seed)

    def draw(_: int) -> Chat:
        chat, tools = opened(rng, True)
        asked = rng.choice(tools).ask(rng)
        chat.say("user", asked.text)
        assistant_calls(chat, [asked.call])
        chat.kind = "call"
        return chat

    return _drawn(count, draw)


COPIED = (
    ("print_label", "Print a label", "text", "print a label that says {}"),
    ("find_part", "Find a part in the store", "code", "where is part {}?"),
    ("open_ticket", "Open a ticket", "id", "please open ticket {}"),
    ("connect", "Connect to a network", "network", "connect to {}"),
    ("call_unit", "Call a unit", "unit", "call {} now"),
    ("delete_key", "Delete a key", "key", "the key {} has to be deleted"),
)


def strings(seed: int, count: int) -> Iterator[tuple[str, list[dict[str, Any]], dict[str, Any]]]:
    """Commands with a random string of 4 to 10 letters and digits, the tools and the call."""
    rng = random.Random(seed)
    declared = [
        {"type": "function", "function": {"name": name, "description": about, "parameters": {
            "type": "object", "properties": {key: {"type": "string"}}, "required": [key]}}}
        for name, about, key, _ in COPIED
    ]  # fmt: skip
    for _ in range(count):
        at = rng.randrange(len(COPIED))
        name, _, key, said = COPIED[at]
        text = "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(rng.randint(4, 10)))
        others = rng.sample([t for i, t in enumerate(declared) if i != at], 2)
        yield said.format(text), [declared[at], *others], {"name": name, "arguments": {key: text}}


def refusals(seed: int, count: int) -> Iterator[Chat]:
    """Commands that none of the given tools fits, and questions beyond the model."""
    rng = random.Random(seed)

    def draw(index: int) -> Chat:
        chat = start(rng, (0.0, 1.0, 0.5, 0.0, 1.0, None)[index % 6], test=True)
        if index % 6 == 3 or index % 12 == 5:
            outside(chat, rng, test=True)
        else:
            refuse(chat, rng, test=True)
        return chat

    return _drawn(count, draw)


def chats(seed: int, count: int) -> Iterator[Chat]:
    """Questions about the model and edgeinfer, every third one with tools declared."""
    rng = random.Random(seed)

    def draw(index: int) -> Chat:
        chat = start(rng, 0.5 if index % 3 == 0 else None, test=True)
        about(chat, rng, test=True)
        return chat

    return _drawn(count, draw)


if __name__ == "__main__":
    from chat import render

    for example in conversations(1, 8):
        print(render(example.messages, example.declared(), generate=False), end="\n=====\n")
    for kind in (known, unseen, refusals, chats):
        print(json.dumps([c.messages[-2:] for c in kind(2, 3)], indent=1))
