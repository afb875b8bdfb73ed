"""Conversations: the grammar and the word lists put together, from a fixed seed.

`conversations(seed, n)` draws training data, `questions(seed, n)` single turns
from the phrases that training never sees.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from grammar import dress
from services import ALL
from skills import Tool, draw_tools
from turns import Chat, about, act, ask, assistant_calls, command, outside, refuse
from words import place

SYSTEMS = ("You are a helpful assistant.", "You control a smart home.", "You are an assistant for devices.",
           "Be brief.", "You are a helpful home assistant.",
           "You operate a small plant.", "Use the tools to help the user.",
           "You are a helpful assistant. Use tools when needed.", "Answer shortly.",
           "You are the voice of this house.", "", "You control the machines of a farm.",
           "Help the operator.", "You are edgeinfer-nano.")  # fmt: skip


def draw_toolbox(rng: random.Random) -> tuple[list[Tool], tuple[str, ...]]:
    """One to six tools that don't compete for the same phrase."""
    places = tuple(dict.fromkeys(place(rng) for _ in range(rng.randint(2, 5)))) if rng.random() < 0.18 else ()
    count, tools, taken = rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6)), list[Tool](), set[str]()
    for skill in rng.sample(ALL, len(ALL)):
        if skill.group not in taken and len(tools) < count:
            taken.add(skill.group)
            tools += draw_tools(skill, rng, places)
    rng.shuffle(tools)
    unique = {tool.name: tool for tool in tools}
    return list(unique.values()), places


def start(rng: random.Random, tools: bool) -> Chat:
    chat = Chat()
    if tools:
        chat.tools, chat.places = draw_toolbox(rng)
    if rng.random() < 0.45:
        chat.say("system", rng.choice(SYSTEMS))
    return chat


def conversations(seed: int, count: int) -> Iterator[Chat]:
    """Training conversations of one to five exchanges."""
    rng = random.Random(seed)
    for _ in range(count):
        chat = start(rng, tools=rng.random() < 0.8)
        turns = rng.choice((1, 1, 2, 3, 4, 5))
        for turn in range(turns):
            roll = rng.random()
            if not chat.tools:
                about(chat, rng) if roll < 0.64 else outside(chat, rng) if roll < 0.84 else refuse(chat, rng)
            elif roll < 0.74:
                act(chat, rng, turn == turns - 1)
            elif roll < 0.84:
                refuse(chat, rng)
            elif roll < 0.89:
                ask(chat, rng)
            else:
                about(chat, rng) if roll < 0.97 else outside(chat, rng)
        if any(m["role"] == "user" for m in chat.messages):
            yield chat


def questions(seed: int, count: int) -> Iterator[Chat]:
    """Held-out single turns; the last message is the expected answer."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        chat = start(rng, tools=made % 5 < 3)
        if made % 5 == 0 or made % 5 == 1:
            found = command(chat, rng, test=True)
            if found is not None:
                chat.say("user", dress(found.text, rng, polite=found.skill.key != "announce"))
                assistant_calls(chat, [found.call])
                chat.kind = "call"
        elif made % 5 == 2:
            refuse(chat, rng, test=True)
        else:
            about(chat, rng, test=True) if made % 10 < 8 else outside(chat, rng, test=True)
        if chat.kind:
            made += 1
            yield chat


if __name__ == "__main__":
    from chat import render

    for example in conversations(1, 8):
        print(render(example.messages, example.declared(), generate=False), end="\n=====\n")
    print(json.dumps([c.messages[-2:] for c in questions(2, 6)], indent=1))
