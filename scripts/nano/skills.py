"""Skills and the tools drawn from them.

A skill is something a device can do, in the abstract; a tool is one way of
declaring it as an OpenAI function. The same skill is drawn under many names,
parameter names, orders and encodings of its state, so that the model reads the
declaration instead of remembering one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from words import invented

Values = dict[str, Any]  # role -> value, as understood from the user
DISTRACTORS: tuple[tuple[str, str, str], ...] = (
    ("duration", "integer", "Seconds, optional"), ("color", "string", "Optional color"), ("delay",
        "integer", "Optional delay"),
    ("priority", "string", "low or high"), ("note", "string", "Optional note"), ("transition", "number",
        "Fade time"),
    ("unit", "string", "Optional unit"), ("mode", "string", "Optional mode"), ("force", "boolean",
        "Skip checks"),
)  # fmt: skip


@dataclass(frozen=True)
class Param:
    """One parameter in the abstract; `role` names the slot that fills it.

    `choices` make it an enum; `told` means that its name alone says too little.
    """

    role: str
    names: tuple[str, ...]
    kind: str
    about: tuple[str, ...]
    required: bool = True
    pairs: tuple[tuple[object, object], ...] = ()
    choices: tuple[str, ...] = ()
    told: bool = False


@dataclass(frozen=True)
class Use:
    """Phrases for one purpose; `state` indexes the pair that encodes it."""

    patterns: tuple[str, ...]
    done: str
    state: int | None = None
    tail: str = ""
    reading: bool = False


@dataclass(frozen=True)
class Skill:
    """`group` keeps two skills that answer the same phrase out of one prompt; `made` is one of `made`."""

    key: str
    group: str
    names: tuple[str, ...]
    about: tuple[str, ...]
    params: tuple[Param, ...]
    uses: tuple[Use, ...]
    ask: str = ""
    made: bool = False


@dataclass(frozen=True)
class Binding:
    """How a role appears in one tool: its name there and the encoding of its values."""

    name: str
    pair: tuple[object, object] | None = None
    enum: Mapping[str, str] = field(default_factory=dict)

    def encode(self, value: Any) -> Any:
        if self.pair is not None:
            return self.pair[value]
        return self.enum.get(value, value)


@dataclass(frozen=True)
class Tool:
    """One drawn declaration. `only` limits it to one state, for tools like `open_valve`."""

    skill: Skill
    name: str
    schema: Values
    bindings: Mapping[str, Binding]
    only: int | None = None

    def call(self, values: Values) -> Values:
        arguments = {b.name: b.encode(values[role]) for role, b in self.bindings.items() if role in values}
        return {"name": self.name, "arguments": arguments}


def draw_tools(
    skill: Skill, rng: random.Random, places: tuple[str, ...] = (), plain: bool = False
) -> list[Tool]:
    """Declare a skill: one tool, or two when its state is part of the names.

    `places` is given when the rooms are to be an enum; then only they can be asked for.
    With `plain` no name is invented.
    """
    states = [p for p in skill.params if p.kind == "state"]
    if states and len(skill.params) <= 2 and not skill.group.startswith("list:") and rng.random() < 0.2:
        on, off = next(
            (a, b) for a, b in rng.sample(states[0].pairs, len(states[0].pairs)) if isinstance(a, str)
        )
        noun = skill.key
        order = rng.random() < 0.7
        names = [f"{s}_{noun}".lower() if order else f"{noun}_{s}".lower() for s in (on, off)]
        return [_declare(skill, rng, places, name, f"{s} the {noun}".capitalize().replace("_", " "), i)
                for i, (name, s) in enumerate(zip(names, (on, off), strict=True))]  # fmt: skip
    return [_declare(skill, rng, places, _name(skill, rng, plain), rng.choice(skill.about), None)]


def _name(skill: Skill, rng: random.Random, plain: bool) -> str:
    roll = rng.random()
    name = rng.choice(skill.names)
    if skill.made:
        return name
    if roll < 0.08 and not plain:
        return f"{name}_{invented(rng)}" if rng.random() < 0.5 else invented(rng)
    if roll < 0.16:
        head, *rest = name.split("_")
        return head + "".join(part.capitalize() for part in rest)
    if roll < 0.22:
        return f"{rng.choice(('home', 'device', 'plant', 'edge', 'iot'))}_{name}"
    return name


def _declare(
    skill: Skill, rng: random.Random, places: tuple[str, ...], name: str, about: str, only: int | None
) -> Tool:
    params = [p for p in skill.params if only is None or p.kind != "state"]
    if rng.random() < 0.3:
        rng.shuffle(params)
    described = rng.random() < 0.5
    properties: Values = {}
    bindings: dict[str, Binding] = {}
    for p in params:
        binding, spec = _bind(p, rng, places)
        while binding.name in properties:
            binding, spec = _bind(p, rng, places)
        text = rng.choice(p.about or ("",))
        if (described or p.told) and text:
            spec["description"] = text
        properties[binding.name], bindings[p.role] = spec, binding
    required = [bindings[p.role].name for p in params if p.required]
    if rng.random() < 0.12:
        extra, kind, text = rng.choice(DISTRACTORS)
        properties.setdefault(extra, {"type": kind, "description": text})
    return Tool(skill, name, _function(rng, name, about, properties, required, skill.made), bindings, only)


def _bind(param: Param, rng: random.Random, places: tuple[str, ...]) -> tuple[Binding, Values]:
    name = rng.choice(param.names)
    if param.kind == "state":
        pair = rng.choice(param.pairs)
        if isinstance(pair[0], bool):
            return Binding(name, pair), {"type": "boolean"}
        return Binding(name, pair), {"type": "string", "enum": list(pair)}
    if param.role == "place" and places:
        encode = {p: p.replace(" ", "_") for p in places} if rng.random() < 0.6 else {}
        return Binding(name, None, encode), {"type": "string", "enum": [encode.get(p, p) for p in places]}
    if param.choices:
        return Binding(name), {"type": "string", "enum": list(param.choices)}
    if param.kind == "number":
        whole = param.role != "degrees" and rng.random() < 0.6
        return Binding(name), {"type": "integer" if whole else "number"}
    return Binding(name), {"type": "string"}


def _function(
    rng: random.Random, name: str, about: str, properties: Values, required: list[str], skill_made: bool
) -> Values:
    parameters: Values = {"type": "object", "properties": properties}
    if required or rng.random() < 0.3:
        parameters["required"] = required
    if rng.random() < 0.1:
        parameters["additionalProperties"] = False
    function: Values = {"name": name, "description": about, "parameters": parameters}
    if rng.random() < 0.06 and not skill_made:
        del function["description"]
    return {"type": "function", "function": function}
