"""What is changed in an app's configuration: a file of our own, some values of a JSON file, or a block of lines."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from edgeinfer.connect.json_edit import set_item, set_value
from edgeinfer.connect.json_tree import parse
from edgeinfer.errors import EdgeinferError

BEGIN = "edgeinfer connect: begin"
END = "edgeinfer connect: end"


class ConfigEdit(Protocol):
    """A change of a file's text."""

    def applied(self, text: str) -> str:
        """Return the file's new text. Raises EdgeinferError if it cannot be changed safely."""
        ...

    def snippet(self) -> str:
        """Return what somebody would write into the file by hand."""
        ...


class OwnFile(msgspec.Struct, frozen=True):
    """A file that holds nothing else."""

    text: str

    def applied(self, text: str) -> str:  # noqa: ARG002 - whatever it was
        return self.text

    def snippet(self) -> str:
        return self.text


class JsonValues(msgspec.Struct, frozen=True):
    """Values of a JSON object.

    Attributes:
        values: each with the keys that lead to it.
        unless_set: values that are somebody's choice, and stay if there are any.
    """

    values: Sequence[tuple[tuple[str, ...], Any]]
    unless_set: Sequence[tuple[tuple[str, ...], Any]] = ()

    def applied(self, text: str) -> str:
        before = parse(text)
        for path, value in self.values:
            text = set_value(text, path, value)
        for path, value in self.unless_set:
            if not _has(before.value if before else {}, path):
                text = set_value(text, path, value)
        return text

    def snippet(self) -> str:
        text = ""
        for path, value in (*self.values, *self.unless_set):
            text = set_value(text, path, value)
        return text


class JsonItem(msgspec.Struct, frozen=True):
    """An item of a JSON array of objects; it takes the place of one whose members `same` are the same."""

    item: dict[str, Any]
    same: Sequence[str]

    def applied(self, text: str) -> str:
        return set_item(text, self.item, self.same)

    def snippet(self) -> str:
        return json.dumps([self.item], indent=2) + "\n"


class Block(msgspec.Struct, frozen=True):
    """Lines at the end of a file, between two comments that begin with `#`.

    Attributes:
        yaml_list: the file is a list in YAML; it must be written in the way to which an item can be added.
    """

    lines: str
    yaml_list: bool = False

    def applied(self, text: str) -> str:
        newline = "\r\n" if "\r\n" in text else "\n"
        block = f"# {BEGIN}\n{self.lines}# {END}\n".replace("\n", newline)
        found = re.findall(rf"^# {BEGIN}\r?\n.*?^# {END}(?:\r?\n|\Z)", text, re.MULTILINE | re.DOTALL)
        if text.count(BEGIN) != len(found) or text.count(END) != len(found) or len(found) > 1:
            raise EdgeinferError(f'the lines "# {BEGIN}" and "# {END}" are not in order')
        if found:
            return text.replace(found[0], block)
        if self.yaml_list:
            _check_yaml_list(text)
        return text + ("" if not text or text.endswith("\n") else newline) + block

    def snippet(self) -> str:
        return self.lines


def _check_yaml_list(text: str) -> None:
    """Check that every line is a comment, begins an item, or belongs to one."""
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun or line.startswith("- ")
        if line.strip() and not line.startswith(("#", "- ")) and not (begun and line.startswith(" ")):
            raise EdgeinferError(f"line {number} is not part of a list that an item can be added to")


def _has(value: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
