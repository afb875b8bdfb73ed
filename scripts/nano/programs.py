"""Short Python, whole and with a hole in it, from patterns and word lists.

A pattern is one function or class; the names in it are drawn. What it does follows
from its name, its arguments or the lines around the hole, so that there is
something to learn besides the form. A hash keeps a tenth of all programs out of
training, for evaluation.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator

Piece = tuple[str, bool]
"""Text, and whether the model is to write it."""

FIELDS = ("name", "size", "age", "price", "width", "height", "speed", "level", "color", "title", "count", "weight",
          "path", "key", "value", "label", "kind", "room", "state", "limit", "owner", "total", "rate", "index",
          "pump", "valve", "sensor", "address", "port", "host", "user", "city", "depth", "mode", "volume")  # fmt: skip
LISTS = ("numbers", "values", "items", "words", "lines", "rows", "names", "prices", "points", "scores", "files", "levels",
         "rooms", "readings", "sensors", "pumps", "users", "records", "keys", "sizes", "weights", "samples")  # fmt: skip
ONE = ("x", "item", "value", "n", "word", "row", "number", "entry", "v", "element")
CLASSES = ("Point", "Box", "User", "Sensor", "Pump", "Light", "Account", "Room", "Timer", "Car", "Book", "Valve", "Robot",
           "Meter", "Order", "Task", "Node", "Shape", "Player", "Device")  # fmt: skip
VERBS = ["add +", "subtract -", "multiply *", "divide /", "modulo %", "power **", "floor_divide //", "total +", "difference -", "product *", "ratio /", "remainder %", "greater >", "less <", "equal ==", "at_least >=", "at_most <=", "different !="]  # fmt: skip

PATTERNS = (
    "def {verb}({a}, {b}):\n    return {a} {op} {b}\n",
    "def {verb}_{fields}({a}, {b}):\n    result = {a} {op} {b}\n    return result\n",
    "def sum_{xs}({xs}):\n    total = 0\n    for {x} in {xs}:\n        total += {x}\n    return total\n",
    "def count_{xs}({xs}):\n    count = 0\n    for {x} in {xs}:\n        count += 1\n    return count\n",
    "def average({xs}):\n    return sum({xs}) / len({xs})\n",
    "def mean_{a}({xs}):\n    if not {xs}:\n        return 0\n    return sum({xs}) / len({xs})\n",
    "def largest({xs}):\n    best = {xs}[0]\n    for {x} in {xs}:\n        if {x} > best:\n            best = {x}\n    return best\n",
    "def smallest({xs}):\n    best = {xs}[0]\n    for {x} in {xs}:\n        if {x} < best:\n            best = {x}\n    return best\n",
    "def squares({xs}):\n    return [{x} * {x} for {x} in {xs}]\n",
    "def double_{xs}({xs}):\n    return [2 * {x} for {x} in {xs}]\n",
    "def even_{xs}({xs}):\n    return [{x} for {x} in {xs} if {x} % 2 == 0]\n",
    "def odd_{xs}({xs}):\n    return [{x} for {x} in {xs} if {x} % 2 == 1]\n",
    "def is_even({x}):\n    return {x} % 2 == 0\n",
    "def is_odd({x}):\n    return {x} % 2 == 1\n",
    "def is_positive({a}):\n    return {a} > 0\n",
    "def is_empty({xs}):\n    return len({xs}) == 0\n",
    "def first({xs}):\n    return {xs}[0]\n",
    "def last({xs}):\n    return {xs}[-1]\n",
    "def reverse_{xs}({xs}):\n    return {xs}[::-1]\n",
    "def contains({xs}, {a}):\n    for {x} in {xs}:\n        if {x} == {a}:\n            return True\n    return False\n",
    "def find({xs}, {a}):\n    for i, {x} in enumerate({xs}):\n        if {x} == {a}:\n            return i\n    return -1\n",
    "def count_by_{a}({xs}):\n    counts = {{}}\n    for {x} in {xs}:\n        counts[{x}.{a}] = counts.get({x}.{a}, 0) + 1\n    return counts\n",
    "def by_{a}({xs}):\n    return sorted({xs}, key=lambda {x}: {x}.{a})\n",
    "def join_{xs}({xs}):\n    return \", \".join({xs})\n",
    "def lower_{xs}({xs}):\n    return [{x}.lower() for {x} in {xs}]\n",
    "def upper_{xs}({xs}):\n    return [{x}.upper() for {x} in {xs}]\n",
    "def strip_{xs}({xs}):\n    return [{x}.strip() for {x} in {xs}]\n",
    "def clamp({a}, low, high):\n    if {a} < low:\n        return low\n    if {a} > high:\n        return high\n    return {a}\n",
    "def absolute({a}):\n    if {a} < 0:\n        return -{a}\n    return {a}\n",
    "def factorial({x}):\n    if {x} <= 1:\n        return 1\n    return {x} * factorial({x} - 1)\n",
    "def fibonacci({x}):\n    a, b = 0, 1\n    for _ in range({x}):\n        a, b = b, a + b\n    return a\n",
    "def gcd(a, b):\n    while b:\n        a, b = b, a % b\n    return a\n",
    "def countdown({x}):\n    while {x} > 0:\n        print({x})\n        {x} -= 1\n",
    "def print_{xs}({xs}):\n    for {x} in {xs}:\n        print({x})\n",
    "def parse_{a}(text):\n    try:\n        return int(text)\n    except ValueError:\n        return None\n",
    "def read_{xs}(path):\n    with open(path) as file:\n        return file.readlines()\n",
    "def write_{a}(path, {a}):\n    with open(path, \"w\") as file:\n        file.write({a})\n",
    "def get_{a}({b}):\n    return {b}.get(\"{a}\")\n",
    "def set_{a}({b}, {a}):\n    {b}[\"{a}\"] = {a}\n    return {b}\n",
    "def has_{a}({b}):\n    return \"{a}\" in {b}\n",
    "def greet({a}):\n    return f\"Hello, {{{a}}}!\"\n",
    "def to_celsius(fahrenheit):\n    return (fahrenheit - 32) * 5 / 9\n",
    "def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32\n",
    "def area(width, height):\n    return width * height\n",
    "def swap({a}, {b}):\n    return {b}, {a}\n",
    "def pair({a}, {b}):\n    return ({a}, {b})\n",
    "def as_dict({a}, {b}):\n    return {{\"{a}\": {a}, \"{b}\": {b}}}\n",
    "class {C}:\n    def __init__(self, {a}, {b}):\n        self.{a} = {a}\n        self.{b} = {b}\n",
    "class {C}:\n    def __init__(self, {a}):\n        self.{a} = {a}\n\n    def get_{a}(self):\n        return self.{a}\n",
    "class {C}:\n    def __init__(self, {a}):\n        self.{a} = {a}\n\n    def set_{a}(self, {a}):\n        self.{a} = {a}\n",
    "class {C}:\n    def __init__(self):\n        self.{xs} = []\n\n    def add(self, {x}):\n        self.{xs}.append({x})\n",
    "class {C}:\n    def __init__(self, {xs}):\n        self.{xs} = {xs}\n\n    def __len__(self):\n        return len(self.{xs})\n",
    "@dataclass\nclass {C}:\n    {a}: str\n    {b}: int\n",
    "import json\n\n\ndef load_{a}(path):\n    with open(path) as file:\n        return json.load(file)\n",
    "import math\n\n\ndef distance({a}, {b}):\n    return math.sqrt({a} ** 2 + {b} ** 2)\n",
    "{xs} = [1, 2, 3]\nfor {x} in {xs}:\n    print({x})\n",
    "def main():\n    print(\"Hello\")\n\n\nif __name__ == \"__main__\":\n    main()\n",
)  # fmt: skip


def source(rng: random.Random, test: bool) -> str:
    """One short program; `test`: of those that training never sees."""
    while True:
        a, b = rng.sample(FIELDS, 2)
        verb, op = rng.choice(VERBS).split()
        names = {"a": a, "b": b, "xs": rng.choice(LISTS), "x": rng.choice(ONE), "C": rng.choice(CLASSES)}
        names |= {"verb": verb, "op": op, "fields": b}
        text = rng.choice(PATTERNS).format(**names)
        if (hashlib.sha256(text.encode()).digest()[0] < 26) == test:
            return text


def hole(rng: random.Random, text: str) -> tuple[str, str, str]:
    """Prefix, middle and suffix: a line's end, a whole line, or what is left of the text."""
    lines = text.splitlines(keepends=True)
    at = rng.choice([i for i, line in enumerate(lines) if i and line.strip()])
    start = sum(map(len, lines[:at]))
    body = lines[at].rstrip("\n")
    roll = rng.random()
    if roll < 0.6:  # from somewhere in the line to its end, as an editor asks
        cut = start + rng.choice([m.start() for m in re.finditer(r"\S+", body)])
        end = start + len(body)
    elif roll < 0.8:
        cut, end = start + len(body) - len(body.lstrip()), start + len(body)
    else:
        cut, end = start, len(text)
    return text[:cut], text[cut:end], text[end:]


def examples(seed: int, count: int) -> Iterator[list[Piece]]:
    """Training texts: two of three with a hole, the others to be written on from their first line."""
    rng = random.Random(seed)
    for _ in range(count):
        text = "\n\n".join(source(rng, False) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        if rng.random() < 0.67:
            prefix, middle, suffix = hole(rng, text)
            yield [
                (f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>", False),
                (f"{middle}<|endoftext|>", True),
            ]
        else:
            cut = text.index("\n") + 1
            yield [(text[:cut], False), (f"{text[cut:]}<|endoftext|>", True)]


def holes(seed: int, count: int) -> Iterator[tuple[str, str, str]]:
    """Prefix, middle and suffix of programs never trained on."""
    rng = random.Random(seed)
    for _ in range(count):
        yield hole(rng, source(rng, True))


if __name__ == "__main__":
    for example in examples(1, 6):
        print("".join(part for part, _ in example), end="\n=====\n")
