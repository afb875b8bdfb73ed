"""Tools written by hand, field by field, and the sentences that ask for them: `fields/*.txt`.

Lines begin with a sign: `#` a field, `@` the names of a tool, `"` its descriptions, `-` a parameter
(names : type : descriptions), `>` a way to ask for it, `=` what was done. Alternatives stand between
bars, free ones in a sentence in brackets; `{name}` is a parameter's value, ` ; name=value` one that
the words imply. Types are `number LOW..HIGH`, `integer LOW..HIGH`, `enum a / b=said,said`, `bool`,
`switch a / b ~ c / d ~ "name": true / false` (one thing, encoded in several ways) and `text KIND`
or `text example / example`; `?` after the type makes the parameter optional.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from values import KINDS, listed, resembling, value

FOLDER = Path(__file__).with_name("fields")
SLOT = re.compile(r"\{(\w+)\}")
HELD_OUT = 14
"""One field of so many is kept for evaluation."""
READING = frozenset(
    ("get", "read", "check", "show", "list", "find", "query", "look", "measure", "count", "status", "search",
     "lookup", "what", "fetch", "inspect", "report", "view", "how", "current", "is", "who", "when", "where", "see")
)  # fmt: skip
LABELLED = ("cow", "desk", "flight", "gate", "line", "pump", "sample", "stand", "train", "valve")
FEW = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


@dataclass(frozen=True)
class Encoding:
    """The two values of a switch, and the parameter's name where it depends on them."""

    first: str | bool
    second: str | bool
    name: str | None = None


@dataclass(frozen=True, eq=False)
class Parameter:
    """`kind` is number, integer, enum, switch, bool or text; the other fields are what the kind needs."""

    names: tuple[str, ...]
    kind: str
    optional: bool
    about: tuple[str, ...]
    low: float = 0
    high: float = 0
    said: dict[str, tuple[str, ...]] = field(default_factory=dict)
    encodings: tuple[Encoding, ...] = ()
    source: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        return self.names[0]

    def fill(self, rng: random.Random) -> tuple[str, Any]:
        """What is said, and the value that a call passes."""
        if self.kind == "enum":
            chosen = rng.choice(list(self.said))
            return rng.choice(self.said[chosen]), chosen
        if self.kind == "text":
            text = value(rng, self.source[0]) if self.source[0] in KINDS else resembling(rng, self.source)
            if self.source[0] in ("message", "title") and rng.random() < 0.2:
                left, right = rng.choice(('""', "''", "“”"))
                return f"{left}{text}{right}", text
            return self.labelled(text, rng)
        if self.kind == "integer" or (self.high > 15 and rng.random() < 0.6):
            low, high = int(self.low), max(int(self.high), int(self.low))
            if high > 0 and rng.random() < 0.25:
                high = min(high * rng.choice((1, 2, 10)), 99999)
            number = rng.randint(low, high) if rng.random() < 0.6 else rng.randint(low, min(high, low + 12))
            if 1 < number < len(FEW) and rng.random() < 0.12:
                return FEW[number], number
            return str(number), number
        decimal = round(
            rng.uniform(self.low, self.high), rng.choice((1, 1, 2, 3) if self.high < 2 else (0, 1, 1, 2))
        )
        text = f"{decimal:g}"
        return text, float(text) if "." in text else int(float(text))

    def labelled(self, text: str, rng: random.Random) -> tuple[str, str]:
        """A label said with or without the noun that the parameter is named after; "bed 5D" passes "5D"."""
        noun, _, label = text.rpartition(" ")
        if noun.lower() in self.names and (len(label) == 1 or label[-1].isdigit()):
            return text, label
        named = self.role in LABELLED or self.role in listed("things")
        if not noun and text[-1].isdigit() and named and rng.random() < 0.5:
            return f"{self.role} {text}", text
        return text, text


@dataclass(frozen=True, eq=False)
class Line:
    """A sentence with slots, and the values that its words imply."""

    text: str
    implied: dict[str, str]


@dataclass(frozen=True, eq=False)
class FieldTool:
    field: str
    names: tuple[str, ...]
    about: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    lines: tuple[Line, ...]
    done: str

    @property
    def reads(self) -> bool:
        return self.names[0].split("_")[0] in READING

    @property
    def held_out(self) -> bool:
        return held_out(self.field)


def held_out(name: str) -> bool:
    """Whether a field is kept for evaluation: decided by hash, so that more fields move none."""
    return hashlib.sha256(name.encode()).digest()[0] % HELD_OUT == 0


def bars(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def parameter(text: str) -> Parameter:
    names, _, rest = text.partition(" : ")
    kind, _, about = rest.partition(" : ")
    word, _, more = kind.strip().partition(" ")
    optional = word.endswith("?")
    found: dict[str, Any] = {}
    word = word.rstrip("?")
    if word in ("number", "integer"):
        low, _, high = more.partition("..")
        found = {"low": float(low), "high": float(high.split()[0])}
    elif word == "enum":
        said = {}
        for part in more.split(" / "):
            key, _, ways = part.strip().partition("=")
            said[key] = tuple(w.strip() for w in ways.split(",")) if ways else (key.replace("_", " "),)
        found = {"said": said}
    elif word == "switch":
        found = {"encodings": tuple(encoding(part) for part in more.split("~"))}
    elif word == "text":
        found = {"source": tuple(part.strip() for part in more.split(" / "))}
    elif word == "bool":
        found = {"encodings": (Encoding(True, False),)}
    else:
        raise ValueError(f"unknown type in {text!r}")
    return Parameter(bars(names), word, optional, bars(about), **found)


def encoding(text: str) -> Encoding:
    named = re.fullmatch(r'\s*"(\w+)"\s*:\s*(true|false)\s*/\s*(true|false)\s*', text)
    if named:
        return Encoding(named[2] == "true", named[3] == "true", named[1])
    first, _, second = text.partition("/")
    return Encoding(first.strip(), second.strip())


def line(text: str) -> Line:
    said, *fixed = text.split(" ; ")
    return Line(
        said.strip(), {part.partition("=")[0].strip(): part.partition("=")[2].strip() for part in fixed}
    )


def parse(text: str) -> list[FieldTool]:
    """The tools of a file; a fault names its tool."""
    tools: list[FieldTool] = []
    subject = ""
    for block in re.split(r"^(?=[#@] )", text, flags=re.MULTILINE):
        if block.startswith("# "):
            subject = block.splitlines()[0][2:].strip()
        elif block.startswith("@ "):
            found: dict[str, list[str]] = {}
            for row in block.splitlines():
                if row.strip():
                    found.setdefault(row[0], []).append(row[1:].strip())
            parameters = tuple(parameter(p) for p in found.get("-", ()))
            tool = FieldTool(subject, bars(found["@"][0]), bars(found['"'][0]), parameters,
                             tuple(line(row) for row in found[">"]), found.get("=", ["done"])[0])  # fmt: skip
            check(tool)
            tools.append(tool)
    return tools


def check(tool: FieldTool) -> None:
    """Every line of a tool names or implies what the tool requires, and nothing unknown."""
    roles = {p.role: p for p in tool.parameters}
    for said in tool.lines:
        slots = set(SLOT.findall(said.text))
        unknown = (slots | set(said.implied)) - set(roles)
        missing = {r for r, p in roles.items() if not p.optional} - slots - set(said.implied)
        wrong = [r for r in slots & set(roles) if roles[r].kind in ("switch", "bool")]
        for role, given in said.implied.items():
            if role in roles and not implied(roles[role], given):
                wrong.append(f"{role}={given}")
        if unknown or missing or wrong:
            raise ValueError(f"{tool.field}: {tool.names[0]}: {said.text!r}: {unknown=} {missing=} {wrong=}")


def implied(given: Parameter, text: str) -> bool:
    """Whether a parameter can have the value that a line implies."""
    if given.kind == "enum":
        return text in given.said
    if given.kind in ("switch", "bool"):
        return text in (str(given.encodings[0].first), str(given.encodings[0].second)) or text in (
            "true",
            "false",
        )
    return given.kind == "text" or text.lstrip("-").replace(".", "", 1).isdigit()


@cache
def fields(test: bool) -> dict[str, tuple[FieldTool, ...]]:
    """The tools by field: those kept for evaluation, or all others."""
    found: dict[str, list[FieldTool]] = {}
    for file in sorted(FOLDER.glob("*.txt")):
        for tool in parse(file.read_text()):
            if tool.held_out == test:
                found.setdefault(tool.field, []).append(tool)
    return {name: tuple(tools) for name, tools in found.items()}
