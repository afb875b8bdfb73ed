"""One conversation as it grows, and the kinds of turn it can take."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from answers import capital, respond
from beyond import ERRANDS, NO_TOOLS, NONE_FITS, OUTSIDE, TOO_SMALL, TOPIC
from grammar import choose, dress, expand, fill, mentioned, values_for
from knowledge import FACTS
from made import alike, counterpart, made
from services import ALL
from skills import Skill, Use
from words import place

Message = dict[str, Any]
SYSTEMS = ("You are a helpful assistant.", "You control a smart home.", "You are an assistant for devices.",
           "Be brief.", "You are a helpful home assistant.",
           "You operate a small plant.", "Use the tools to help the user.",
           "You are a helpful assistant. Use tools when needed.", "Answer shortly.",
           "You are the voice of this house.", "", "You control the machines of a farm.",
           "Help the operator.", "You are edgeinfer-nano.")  # fmt: skip
AGAIN = (
    "[and |]now the opposite",
    "undo that",
    "[and |]turn it {word} again",
    "[and |now |]{word} again",
    "turn it {word}",
    "{word} again please",
    "switch it {word}",
)
ALSO = (
    "and in {the}?",
    "[do |]the same in {the}",
    "also in {the}",
    "and {the}?",
    "now {the} too",
    "{the} too",
    "what about {the}?",
)
BARE = {"light": "turn on the light|light on|lights off|switch off the light|turn the light off|turn on the lights", "timer": "set a timer|start a timer|timer",
        "thermostat": "change the temperature|set the thermostat|adjust the heating",
        "blinds": "open the blinds|close the blinds|close the shutters",
        "pump": "start the pump|stop the pump", "valve": "open the valve|close the valve",
        "relay": "switch the relay|turn on the relay",
        "weather": "what's the weather?|how is the weather?|weather",
        "thermometer": "what is the temperature?|how warm is it?",
        "fan": "turn on the fan|fan off"}  # fmt: skip


@dataclass
class Chat:
    """One conversation, and what kind of turn it ends on."""

    messages: list[Message] = field(default_factory=list)
    tools: list[Any] = field(default_factory=list)
    places: tuple[str, ...] = ()
    kind: str = ""
    alternatives: list[list[Message]] = field(default_factory=list)
    """Ways to go on from the messages; none sees anything of the others."""

    def say(self, role: str, content: str) -> None:
        self.messages.append({"role": role, "content": content})

    def every_message(self) -> list[Message]:
        """Those of the alternatives, too."""
        return [*self.messages, *(m for messages in self.alternatives for m in messages)]

    def declared(self) -> list[dict[str, Any]] | None:
        return [tool.schema for tool in self.tools] or None


@dataclass(frozen=True)
class Command:
    skill: Skill
    use: Use
    text: str
    values: dict[str, Any]
    call: dict[str, Any]


def command(chat: Chat, rng: random.Random, test: bool | None) -> Command | None:
    """Something one of the tools can do, and the call that does it."""
    tool = rng.choice(chat.tools)
    uses = [u for u in tool.skill.uses if tool.only is None or u.state == tool.only]
    use = rng.choice(uses)
    pattern = choose(use.patterns, rng, test)
    if pattern is None:
        return None
    values = values_for(tool.skill, use, rng, chat.places)
    said = mentioned(pattern, values)
    return Command(tool.skill, use, fill(pattern, values), values | said, tool.call(said))


def assistant_calls(chat: Chat, calls: list[dict[str, Any]]) -> None:
    chat.messages.append(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "function": c} for c in calls],
        }
    )


def act(chat: Chat, rng: random.Random, last: bool) -> None:
    """A command, or two in one breath, then often the tool's answer and a reply."""
    first = command(chat, rng, False)
    second = command(chat, rng, False) if rng.random() < 0.1 else None
    if first is None:
        return
    done = (
        [first]
        if second is None or second.text.endswith("?") or first.text.endswith("?")
        else [first, second]
    )
    joined = rng.choice((" and ", ", ", " and then ")).join(c.text for c in done)
    chat.say("user", dress(joined, rng, polite=done[-1].skill.key != "announce"))
    assistant_calls(chat, [c.call for c in done])
    chat.kind = "call"
    if last and rng.random() < 0.5:
        return
    replies = [respond(c.use, c.skill.key, c.values, rng) for c in done]
    chat.messages += [{"role": "tool", "content": content} for content, _ in replies]
    chat.say("assistant", " ".join(reply for _, reply in replies))
    if len(done) == 1 and rng.random() < 0.2:
        follow(chat, rng, first)


def follow(chat: Chat, rng: random.Random, before: Command) -> None:
    """A turn that leans on the one before: the other state, or another place."""
    tool = next((t for t in chat.tools if t.name == before.call["name"]), None)
    if tool is None or tool.only is not None:
        return
    other = next((u for u in before.skill.uses if u.state == 1 - (before.use.state or 0)), None)
    values = dict(before.values)
    if (
        before.use.state is not None
        and other is not None
        and "level" not in before.call["arguments"]
        and rng.random() < 0.6
    ):
        word = {
            "light": ("on", "off"),
            "fan": ("on", "off"),
            "pump": ("on", "off"),
            "relay": ("on", "off"),
        }.get(before.skill.key)
        pattern = rng.choice(AGAIN if word else AGAIN[:2])
        values["state"] = other.state
        text = expand(pattern, rng).replace("{word}", word[other.state or 0] if word else "")
    elif (
        "place" in tool.bindings
        and not chat.places
        and tool.bindings["place"].name in before.call["arguments"]
    ):
        values["place"] = place(rng)
        text = fill(expand(rng.choice(ALSO), rng), values)
    else:
        return
    keys = [r for r, b in tool.bindings.items() if b.name in before.call["arguments"]]
    chat.say("user", dress(text, rng, polite=False))
    assistant_calls(chat, [tool.call({r: values[r] for r in keys})])
    chat.messages.append({"role": "tool", "content": "ok"})
    use = other if values.get("state") != before.values.get("state") and other else before.use
    if use.reading:
        chat.messages[-1]["content"] = "7"
    chat.say("assistant", capital(fill(use.done, values, tail=use.tail, result="7")))


def refuse(chat: Chat, rng: random.Random, test: bool = False) -> None:
    """A device command that no tool fits: of another kind, of another device, or the reverse."""
    given = [tool.skill for tool in chat.tools]
    skill = None
    if given and rng.random() < 0.25:
        skill = counterpart(rng.choice(given), rng, test)
    if skill is None:
        skill = made(rng, test) if rng.random() < (0.5 if given else 0.25) else rng.choice(ALL)
    if any(alike(skill, other) for other in given):
        return
    use = rng.choice(skill.uses)
    pattern = choose(use.patterns, rng, None if skill.made and test else test)
    if pattern is None:
        return
    chat.say("user", dress(fill(pattern, values_for(skill, use, rng, chat.places)), rng, polite=True))
    chat.say("assistant", NONE_FITS if chat.tools else NO_TOOLS)
    chat.kind = "refuse"


def about(chat: Chat, rng: random.Random, test: bool = False) -> None:
    """A question about the model or edgeinfer."""
    _, answer, patterns = rng.choice(FACTS)
    phrase = choose(patterns, rng, test)
    if phrase is None:
        return
    chat.say("user", dress(phrase, rng, polite=False))
    chat.say("assistant", answer)
    chat.kind = "about"


def outside(chat: Chat, rng: random.Random, test: bool = False) -> None:
    """A question beyond it."""
    errands = not any(tool.skill.made for tool in chat.tools)
    phrase = choose(OUTSIDE + ERRANDS if errands else OUTSIDE, rng, test)
    if phrase is None:
        return
    text = phrase.format(topic=rng.choice(TOPIC), n=rng.randint(1, 99), m=rng.randint(1, 99))
    chat.say("user", dress(text, rng, polite=False))
    chat.say("assistant", TOO_SMALL)
    chat.kind = "outside"


def ask(chat: Chat, rng: random.Random) -> None:
    """A command that lacks what its tool requires: ask for it."""
    able = [t for t in chat.tools if t.skill.key in BARE and t.only is None]
    if not able:
        refuse(chat, rng)
        return
    tool = rng.choice(able)
    chat.say("user", dress(rng.choice(BARE[tool.skill.key].split("|")), rng, polite=True))
    chat.say("assistant", tool.skill.ask)
    chat.kind = "ask"
