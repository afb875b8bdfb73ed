"""Arguments that are written one by one, each in tags of its own, instead of as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from edgeinfer.chat.events import CallArguments
from edgeinfer.chat.lark import ANY, literal, one_of, pattern
from edgeinfer.chat.scanner import Scanner, Steps
from edgeinfer.chat.tools.json_value import JsonValue
from edgeinfer.chat.tools.tool import Tool
from edgeinfer.errors import UnsupportedSchema
from edgeinfer.grammar.source import GrammarSource

Kind = Literal["raw", "choice", "boolean", "json"]

PLAIN = frozenset({"type", "title", "description", "default", "examples", "deprecated"})
"""Keywords of a string's schema that do not restrict it."""

UNWRITABLE = (
    *("$ref", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "propertyNames"),
    *("minProperties", "maxProperties", "dependentRequired", "dependentSchemas"),
)
"""Keywords of an object whose meaning is lost when its properties are written one by one."""


class ArgumentSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """The way that a family of models writes arguments one by one.

    Attributes:
        key: stands before a name.
        value: stands between a name and a value.
        close: stands after a value.
        separator: stands between two arguments.
        quotes: stand around plain strings, which are written as they are; None: strings are JSON's.
        python: true is True, and false is False.
    """

    key: str = ""
    value: str
    close: str = ""
    separator: str = ""
    quotes: tuple[str, str] | None = None
    python: bool = False

    def rules(self, tool: Tool, n: int) -> tuple[list[str], list[GrammarSource]]:
        """Rules, of which `args{n}` describes the tool's arguments in the schema's order, and their parts.

        Raises:
            UnsupportedSchema: the schema's properties depend on each other.
        """
        for keyword in UNWRITABLE:
            if keyword in tool.parameters:
                raise UnsupportedSchema(
                    f"this model writes arguments one by one, so its tools cannot have {keyword!r} beside their properties",
                    param=tool.param,
                    hint="use plain properties; each may have any schema",
                )
        rules, parts = [], []
        required = tool.parameters.get("required", ())
        properties = self._properties(tool)
        for m, (key, schema) in enumerate(properties.items()):
            name = f"{n}_{m}"
            text, part = self._value(schema, tool, key, f"v{name}")
            parts += part
            rules += text
            rules.append(f"p{name}: {literal(self.key + key + self.value)} v{name}")
            after, skip = f"r{n}_{m + 1}", key not in required
            rules.append(f"s{name}: p{name} {after}" + (f" | s{n}_{m + 1}" if skip else ""))
            rules.append(
                f"r{name}: {literal(self.separator)} p{name} {after}" + (f" | {after}" if skip else "")
            )
        last = f"{n}_{len(properties)}"
        return [f"args{n}: s{n}_0", *rules, f's{last}: ""', f'r{last}: ""'], parts

    def _value(self, schema: Any, tool: Tool, key: str, name: str) -> tuple[list[str], list[GrammarSource]]:
        left, right = self.quotes or ("", "")
        kind = self.kind(schema)
        if kind == "raw":
            opened = f"{literal(left)} " if left else ""
            end = right + self.close
            return [f"{name}: {opened}{name}_raw", f"{name}_raw[lazy]: /{ANY}{pattern(end)}/"], []
        close = f" {literal(self.close)}" if self.close else ""
        if kind == "choice":
            return [f"{name}: {one_of(left + one + right + self.close for one in schema['enum'])}"], []
        if kind == "boolean":
            return [f'{name}: ("True" | "False"){close}'], []
        part = GrammarSource(
            f"{name}_json", "json_schema", _with_definitions(schema, tool), f"{tool.param}.properties.{key}"
        )
        return [f"{name}: @{part.name}{close}"], [part]

    def kind(self, schema: Any) -> Kind:
        """The way that a value of this schema is written."""
        if not isinstance(schema, dict):
            return "json"
        if self.python and schema.get("type") == "boolean" and schema.keys() <= PLAIN:
            return "boolean"
        if self.quotes is None or schema.get("type") != "string":
            return "json"
        if schema.keys() <= PLAIN:
            return "raw"
        choices = schema.get("enum")
        whole = isinstance(choices, list) and all(
            isinstance(one, str) and one.isprintable() for one in choices
        )
        return "choice" if whole and choices and schema.keys() <= PLAIN | {"enum"} else "json"

    def parse(self, scanner: Scanner, tool: Tool, index: int, *ends: str) -> Steps[bool]:
        """Parse arguments up to, but not including, one of the ends; -> whether it was reached."""
        properties = self._properties(tool)
        heads = {self.key + key + self.value: key for key in properties}
        count = 0
        while True:
            head = yield from scanner.expect(*([self.separator] if count else []), *heads, *ends)
            if head == self.separator and head:
                head = yield from scanner.expect(*heads)
            if head in ends:
                scanner.text = head + scanner.text
                yield CallArguments(index, "}" if count else "{}")
                return True
            if head is None or head not in heads:
                return False
            key = heads[head]
            yield CallArguments(
                index, ("{" if not count else ", ") + json.dumps(key, ensure_ascii=False) + ": "
            )
            if not (yield from self._parse_value(scanner, self.kind(properties[key]), index)):
                return False
            count += 1

    def _parse_value(self, scanner: Scanner, kind: Kind, index: int) -> Steps[bool]:
        if kind in ("raw", "choice"):
            left, right = self.quotes or ("", "")
            if left and (yield from scanner.expect(left)) is None:
                return False
            return (yield from _parse_raw(scanner, right + self.close, index))
        if kind == "boolean":
            word = yield from scanner.expect("True", "False")
            if word is None:
                return False
            yield CallArguments(index, word.lower())
        elif not (yield from parse_json(scanner, index)):
            return False
        return not self.close or (yield from scanner.expect(self.close)) is not None

    def write(self, arguments: Mapping[str, Any]) -> str:
        """The arguments as the model would write them."""
        return self.separator.join(
            f"{self.key}{key}{self.value}{self._written(value)}{self.close}"
            for key, value in arguments.items()
        )

    def _written(self, value: Any) -> str:
        if isinstance(value, str) and self.quotes is not None:
            return self.quotes[0] + value + self.quotes[1]
        if isinstance(value, bool) and self.python:
            return str(value)
        return json.dumps(value, ensure_ascii=False)

    def _properties(self, tool: Tool) -> dict[str, Any]:
        """The properties that are described, and those that are only required."""
        properties = tool.parameters.get("properties", {})
        return {
            **properties,
            **{key: True for key in tool.parameters.get("required", ()) if key not in properties},
        }


def parse_json(scanner: Scanner, index: int) -> Steps[bool]:
    """Parse one JSON value; -> whether it came to its end."""
    value = JsonValue()
    while not value.ended:
        if scanner.text:
            size = value.take(scanner.text)
            if size:
                yield CallArguments(index, scanner.take(size))
        elif scanner.final:
            return False
        else:
            yield None
    return True


def _parse_raw(scanner: Scanner, end: str, index: int) -> Steps[bool]:
    """Parse a plain string up to its end; its events are JSON."""
    yield CallArguments(index, '"')
    while True:
        piece = yield from scanner.before(end)
        if not piece:
            break
        yield CallArguments(index, json.dumps(piece, ensure_ascii=False)[1:-1])
    if piece is None:
        return False
    space, _, scanner.text = scanner.text.partition(end)
    yield CallArguments(index, json.dumps(space, ensure_ascii=False)[1:])
    return True


def _with_definitions(schema: Any, tool: Tool) -> Any:
    """A property's schema, with the definitions that it may refer to."""
    definitions = {key: tool.parameters[key] for key in ("$defs", "definitions") if key in tool.parameters}
    return {**schema, **definitions} if isinstance(schema, dict) and definitions else schema
