"""A tool of a field as one developer would declare it, and sentences that call it.

Names, wording, order, case, encodings and the choice of an enum change from one
declaration to the next, so that only reading it tells what a call looks like.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

from fields import SLOT, Encoding, FieldTool, Line, Parameter
from grammar import expand
from skills import DISTRACTORS
from values import common, listed
from words import invented

OPENERS = (
    "hey, ",
    "hi, ",
    "ok, ",
    "okay, ",
    "so, ",
    "hello, ",
    "and ",
    "well, ",
    "now ",
    "alright, ",
    "sorry, ",
    "right, ",
)
WISHES = ("please ", "please ", "can you ", "could you ", "could you please ", "i want you to ", "i'd like you to ", "would you ",
          "just ", "go ahead and ", "we need to ", "let's ", "you can ", "i need you to ", "time to ")  # fmt: skip
ENDINGS = (" please", ", please", " now", " for me", ", thanks", " right away", ", thank you", " if you can")
TWICE = re.compile(r"\b(\w+) \1 (?=\S*\d)", re.IGNORECASE)
OWNERS = ("home", "my", "api", "device", "app", "plant", "edge", "main", "svc", "do")


@dataclass(frozen=True)
class Place:
    """Where a parameter's value goes: its name in this declaration and how its values are written there."""

    name: str
    written: dict[str, Any]
    encoding: Encoding | None = None


@dataclass(frozen=True)
class Asked:
    """A sentence, the call it wants, and what is said when it is done."""

    text: str
    call: dict[str, Any]
    done: str
    opens_free: bool
    """Whether the sentence begins with words to be copied, whose case must stay."""

    ends_free: bool
    """Whether it ends in such words, after which nothing may follow."""


@dataclass(frozen=True)
class Declared:
    tool: FieldTool
    name: str
    schema: dict[str, Any]
    places: dict[str, Place]

    def ask(self, rng: random.Random) -> Asked:
        """A way to ask for it that this declaration can answer."""
        able = [said for said in self.tool.lines if self._able(said)]
        chosen = rng.choice(able)
        text = expand(chosen.text, rng)
        small = rng.random() < 0.06
        arguments: dict[str, Any] = {}
        filled: dict[str, str] = {}
        for parameter in self.tool.parameters:
            role, place = parameter.role, self.places[parameter.role]
            if role in chosen.implied:
                arguments[place.name] = self._implied(parameter, place, chosen.implied[role])
                filled[role] = chosen.implied[role].replace("_", " ")
            elif f"{{{role}}}" in text:
                said, passed = parameter.fill(rng)
                while parameter.kind == "enum" and passed not in place.written:
                    said, passed = parameter.fill(rng)
                if small and parameter.kind == "text":
                    said, passed = said.lower(), passed.lower()
                arguments[place.name] = place.written[passed] if parameter.kind == "enum" else passed
                filled[role] = said
        last = SLOT.findall(text)[-1:] if text.endswith("}") else []
        free = bool(last) and any(p.role == last[0] and p.kind == "text" for p in self.tool.parameters)
        return Asked(dressed(text, filled, rng, free, small), {"name": self.name, "arguments": arguments},
                     SLOT.sub(lambda m: filled.get(m[1], "it"), self.tool.done), text.startswith("{"), free)  # fmt: skip

    def _able(self, said: Line) -> bool:
        for parameter in self.tool.parameters:
            chosen = said.implied.get(parameter.role)
            if (
                parameter.kind == "enum"
                and chosen is not None
                and chosen not in self.places[parameter.role].written
            ):
                return False
        return True

    @staticmethod
    def _implied(parameter: Parameter, place: Place, chosen: str) -> Any:
        if parameter.kind == "enum":
            return place.written[chosen]
        if place.encoding is not None:
            first = chosen.lower() == str(parameter.encodings[0].first).lower()
            return place.encoding.first if first else place.encoding.second
        if parameter.kind == "text":
            return chosen
        return float(chosen) if "." in chosen else int(chosen)


def dressed(text: str, filled: dict[str, str], rng: random.Random, free: bool, small: bool) -> str:
    """The sentence with its values, varied in what does not matter: politeness, case, the last mark."""
    question, opens = text.endswith("?"), text.startswith("{")
    first = re.split(r"[ ,]", text, maxsplit=1)[0].lower()
    if first in listed("verbs") and not question and rng.random() < 0.28:
        text = rng.choice(WISHES) + text
        opens = False
        if text.startswith(("can", "could", "would")) and not free and rng.random() < 0.7:
            text += "?"
            question = True
    elif rng.random() < 0.1:
        text, opens = rng.choice(OPENERS) + (text if opens else text[0].lower() + text[1:]), False
    if not question and not free and text[-1].isalnum() and rng.random() < 0.12:
        text += rng.choice(ENDINGS)
    text = TWICE.sub(r"\1 ", SLOT.sub(lambda m: filled[m[1]], text))
    if question and rng.random() < 0.25:
        text = text[:-1]
    elif not question and text[-1] not in ".!" and rng.random() < (0.12 if free else 0.35):
        text += rng.choice((".", ".", ".", "!"))
    if small:
        return text.lower()
    if rng.random() < 0.6 and not opens:
        text = text[0].upper() + text[1:]
    text = re.sub(r"\bi\b(?=[ '])", "I", text) if rng.random() < 0.8 else text
    return text.replace("'", "") if rng.random() < 0.03 else text


def styled(name: str, style: str) -> str:
    head, *rest = name.split("_")
    if style == "camel":
        return head + "".join(part.capitalize() for part in rest)
    return name.replace("_", "-") if style == "kebab" else name


def declare(tool: FieldTool, rng: random.Random) -> Declared:
    """Draw one declaration of the tool."""
    style = rng.choices(("snake", "camel", "kebab"), (70, 26, 4))[0]
    name, described = rng.choice(tool.names), rng.random() < 0.94
    roll = rng.random()
    if roll < 0.04 and described:
        name = invented(rng)
    elif roll < 0.10:
        name = f"{rng.choice(OWNERS)}_{name}"
    elif roll < 0.14:
        name = f"{name}_{rng.choice(('tool', 'v2', 'now', 'cmd', common(rng, 'things')))}"
    about = rng.choice(tool.about)
    if rng.random() < 0.3:
        about = about.rstrip(".")
    full = rng.random()
    order = list(tool.parameters)
    if rng.random() < 0.4:
        rng.shuffle(order)
    properties: dict[str, Any] = {}
    places: dict[str, Place] = {}
    required = []
    for parameter in order:
        place, spec = drawn(parameter, rng, style, full)
        while place.name in properties:
            place, spec = drawn(parameter, rng, style, full)
        properties[place.name], places[parameter.role] = spec, place
        if not parameter.optional:
            required.append(place.name)
    if rng.random() < 0.08:
        extra, kind, text = rng.choice(DISTRACTORS)
        properties.setdefault(styled(extra, style), {"type": kind, "description": text})
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required or rng.random() < 0.4:
        parameters["required"] = required
    function: dict[str, Any] = {"name": styled(name, style), "description": about, "parameters": parameters}
    if not described:
        del function["description"]
    if not properties and rng.random() < 0.2:
        del function["parameters"]
    return Declared(tool, styled(name, style), {"type": "function", "function": function}, places)


def hinted(parameter: Parameter, encoding: Encoding | None, rng: random.Random) -> str:
    """What developers add to a description: an example, a range, what true stands for."""
    roll = rng.random()
    if (
        encoding is not None
        and isinstance(encoding.first, bool)
        and isinstance(parameter.encodings[0].first, str)
    ):
        plain = parameter.encodings[0]
        pair = (plain.first, plain.second) if encoding.first else (plain.second, plain.first)
        yes, no = (str(state).replace("_", " ") for state in pair)
        return (
            rng.choice(
                (
                    f", true = {yes}, false = {no}",
                    f"; true for {yes}, false for {no}",
                    f" (true: {yes}, false: {no})",
                )
            )
            if roll < 0.5
            else ""
        )
    if parameter.kind == "text" and roll < 0.22:
        example = parameter.fill(rng)[0]
        return rng.choice(
            (
                f", e.g. {example}",
                f", e.g. '{example}'",
                f", for example {example}",
                f" (e.g. {example})",
                f", like {example}",
            )
        )
    if parameter.kind in ("number", "integer") and roll < 0.12:
        low, high = f"{parameter.low:g}", f"{parameter.high:g}"
        return rng.choice((f", {low} to {high}", f" ({low}-{high})", f" from {low} to {high}"))
    if parameter.kind == "text" and roll < 0.27:
        return rng.choice((" without article", ", as said", ", exactly as given", " as written by the user"))
    return ""


def drawn(parameter: Parameter, rng: random.Random, style: str, full: float) -> tuple[Place, dict[str, Any]]:
    """A parameter's name and schema; `full` below one half leaves out what its name says already."""
    plain = rng.random() < 0.5
    name = parameter.role if plain else rng.choice(parameter.names)
    spec: dict[str, Any] = {}
    written: dict[str, Any] = {}
    encoding = None
    if parameter.kind in ("switch", "bool"):
        encoding = rng.choice(parameter.encodings)
        name = encoding.name or name
        if isinstance(encoding.first, bool):
            spec = {"type": "boolean"}
        else:
            values = [encoding.first, encoding.second]
            spec = {"type": "string", "enum": values if rng.random() < 0.7 else values[::-1]}
    elif parameter.kind == "enum":
        chosen = list(parameter.said)
        if len(chosen) > 3 and rng.random() < 0.35:
            chosen = rng.sample(chosen, rng.randint(3, len(chosen)))
        elif rng.random() < 0.3:
            rng.shuffle(chosen)
        case = rng.random()
        for choice in chosen:
            text = choice.upper() if case < 0.06 else choice.replace("_", "-") if case < 0.12 else choice
            written[choice] = text.replace("_", " ") if 0.12 < case < 0.2 else text
        spec = {"type": "string", "enum": list(written.values())}
    elif parameter.kind == "text":
        spec = {"type": "string"}
    else:
        spec = {"type": parameter.kind}
    if parameter.about and (full < 0.55 or name != parameter.role or rng.random() < 0.2):
        spec["description"] = rng.choice(parameter.about)
    if hint := hinted(parameter, encoding, rng):
        spec["description"] = (
            f"{spec['description']}{hint}" if "description" in spec else hint.strip(" ,;(").rstrip(")")
        )
    return Place(styled(name, style), written, encoding), spec
