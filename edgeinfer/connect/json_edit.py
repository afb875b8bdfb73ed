"""Changes single values of JSON with comments; every other character stays as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from edgeinfer.connect.json_tree import Node, parse
from edgeinfer.errors import EdgeinferError


def set_value(text: str, path: Sequence[str], value: Any) -> str:
    """Return the text with a member set to a value; objects on the way to it are made.

    Raises:
        EdgeinferError: the text is not JSON, or something on the way is no object.
    """
    root = parse(text)
    if root is None:
        return _after_comments(text, _nested(path, value))
    node, expected = root, copy.deepcopy(root.value)
    inner = expected
    for depth, key in enumerate(path):
        if not isinstance(node.value, dict):
            raise EdgeinferError(f"{'.'.join(path[:depth]) or 'the file'} is no JSON object")
        member = node.member(key)
        if member is None:
            inner[key] = _nested(path[depth + 1 :], value)
            return _checked(_inserted(text, node, inner[key], key), expected)
        if depth + 1 == len(path):
            inner[key] = value
            new = text if member.value == value else _replaced(text, member, value)
            return _checked(new, expected)
        node, inner = member, inner[key]
    raise AssertionError("the path is empty")


def set_item(text: str, item: dict[str, Any], same: Sequence[str]) -> str:
    """Return the text, an array of objects, with an item; it replaces one whose members `same` are the same.

    Raises:
        EdgeinferError: the text is no JSON array.
    """
    root = parse(text)
    if root is None:
        return _after_comments(text, [item])
    if not isinstance(root.value, list):
        raise EdgeinferError("the file is no JSON array")
    for number, entry in enumerate(root.entries):
        old = entry.node.value
        if isinstance(old, dict) and all(old.get(name) == item[name] for name in same):
            expected = [*root.value[:number], item, *root.value[number + 1 :]]
            return _checked(text if old == item else _replaced(text, entry.node, item), expected)
    return _checked(_inserted(text, root, item), [*root.value, item])


def _nested(path: Sequence[str], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _after_comments(text: str, value: Any) -> str:
    newline = _newline(text)
    text = text if not text.strip() or text.endswith("\n") else text + newline
    return (text if text.strip() else "") + _written(value, "", "  ", newline) + newline


def _inserted(text: str, node: Node, value: Any, key: str | None = None) -> str:
    """Add an entry to an object or an array, in the way in which the others are laid out."""
    newline = _newline(text)
    outer = _line_indent(text, node.start)
    unit = _unit(text)
    indent = outer + unit
    separator = newline + indent
    if node.entries:
        last = node.entries[-1]
        line = text[text.rfind("\n", 0, last.start) + 1 : last.start]
        if line.strip():  # it does not stand at the beginning of its line
            separator = " "
            indent = _line_indent(text, last.start)
        else:
            indent, separator = line, newline + line
    name = f"{json.dumps(key, ensure_ascii=False)}: " if key is not None else ""
    new = name + _written(value, indent, unit, newline)
    if not node.entries:
        at = node.start + 1
        bare = text[at : node.end - 1].strip() == ""
        if bare:
            return text[:at] + separator + new + newline + outer + text[node.end - 1 :]
        return text[:at] + separator + new + text[at:]
    if node.trailing_comma is not None:
        return text[: node.trailing_comma] + separator + new + "," + text[node.trailing_comma :]
    at = node.entries[-1].node.end
    return text[:at] + "," + separator + new + text[at:]


def _replaced(text: str, node: Node, value: Any) -> str:
    new = _written(value, _line_indent(text, node.start), _unit(text), _newline(text))
    return text[: node.start] + new + text[node.end :]


def _written(value: Any, indent: str, unit: str, newline: str) -> str:
    return json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", newline + indent)


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _line_indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


def _unit(text: str) -> str:
    """Return the indentation of the first indented line of JSON."""
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if indent and line.lstrip().startswith(('"', "{", "[")):
            return indent
    return "  "


def _checked(text: str, expected: Any) -> str:
    """Return the text, after reading it as the app will."""
    node = parse(text)
    if node is None or node.value != expected:
        raise EdgeinferError("the file is laid out in a way that cannot be edited safely")
    return text
