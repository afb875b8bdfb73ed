"""Values of a JSON file change, and every other character stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeinfer.connect.json_edit import set_item, set_value
from edgeinfer.connect.json_tree import parse
from edgeinfer.errors import EdgeinferError


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("// mine\n", '// mine\n{\n  "a": {\n    "b": 1\n  }\n}\n'),
        ("{}", '{\n  "a": {\n    "b": 1\n  }\n}'),
        ('{\n    "x": 2 // two\n}\n', '{\n    "x": 2,\n    "a": {\n        "b": 1\n    } // two\n}\n'),
        ('{\n\t"x": 2,\n}', '{\n\t"x": 2,\n\t"a": {\n\t\t"b": 1\n\t},\n}'),
        ('{"x": 2}', '{"x": 2, "a": {\n  "b": 1\n}}'),
        ('{\r\n  "x": 2\r\n}\r\n', '{\r\n  "x": 2,\r\n  "a": {\r\n    "b": 1\r\n  }\r\n}\r\n'),
        ('{"a": {"b": /* old */ 7}, "c": [1,]}', '{"a": {"b": /* old */ 1}, "c": [1,]}'),
        ('{"a": {"b": 1.0}}', '{"a": {"b": 1.0}}'),
        ('{"a": {}, "a": {"b": 0}}', '{"a": {}, "a": {"b": 1}}'),
    ],
    ids=[
        "empty file",
        "comment only",
        "empty object",
        "comment after the last member",
        "trailing comma and tabs",
        "one line",
        "CRLF",
        "replaced",
        "equal already",
        "name twice",
    ],
)
def test_a_value_is_set_in_the_layout_of_the_file(before: str, after: str) -> None:
    assert set_value(before, ("a", "b"), 1) == after


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"x": 1', "the file ends before the JSON does"),
        ('{"x": "1', "line 1 has a text without"),
        ('{"x": 1 "y": 2}', "line 1 lacks a comma"),
        ('{\n"x" 1}', "line 2 lacks a colon"),
        ("{} {}", "line 1 has something after the end"),
        ("nonsense", "line 1 has something that is no JSON"),
        ('{"x": NaN}', "line 1 has something that is no JSON"),
        ("[1]", "the file is no JSON object"),
        ('{"a": 5}', "a is no JSON object"),
        ("[" * 500, "line 1 is nested too deeply"),
        ('{"a": "\\x"}', "line 1 has a text that is no JSON"),
        ("/* open", "line 1 has something that is no JSON"),
    ],
)
def test_what_cannot_be_edited_safely_is_refused_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(EdgeinferError, match=problem):
        set_value(text, ("a", "b"), 1)


@pytest.mark.parametrize(
    ("before", "names"),
    [
        ("", ["new"]),
        ("[]", ["new"]),
        ('[{"name": "other", "url": 1}] // end', ["other", "new"]),
        ('[\n  {"name": "new", "url": 1},\n  {"name": "other"},\n]', ["new", "other"]),
    ],
)
def test_an_item_is_added_or_takes_the_place_of_its_like(before: str, names: list[str]) -> None:
    after = parse(set_item(before, {"name": "new", "url": 2}, ("name",)))
    assert after
    assert [item["name"] for item in after.value] == names
    assert {"name": "new", "url": 2} in after.value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(), JSON, max_size=4),
    st.lists(st.text(), min_size=1, max_size=3),
    JSON,
    st.sampled_from([None, 0, 2, "\t"]),
)
def test_any_json_keeps_all_but_the_value(
    old: dict[str, Any], path: list[str], value: Any, indent: int | str | None
) -> None:
    before = json.dumps(old, indent=indent)
    expected = json.loads(before)
    inner = expected
    for key in path[:-1]:
        if not isinstance(inner.setdefault(key, {}), dict):
            return
        inner = inner[key]
    inner[path[-1]] = value
    after = set_value(before, path, value)
    assert json.loads(after) == expected
    assert set_value(after, path, value) == after
