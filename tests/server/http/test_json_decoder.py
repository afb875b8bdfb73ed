"""JSON from clients costs a small multiple of its size, and nothing in it is dropped."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.json_decoder import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_INT,
    MAX_STRINGS,
    MAX_VALUES,
    MIN_INT,
    JsonDecoder,
    has_more_values,
)

MEGABYTE = 1 << 20


def decode(text: str | bytes) -> Any:
    return JsonDecoder().decode(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, -2.5, true, null, "x"], "b": {"a": {"a": 1}}}',
        r'{"a\"b": "\\", "c": "\\\"", "d": "[{,:\"\\\\\""}',
        r'"\ud83d\ude00 \u0000 \\ud800"',
        '{"é": "日本語", "": ""}',
        '[[], {}, "", 0]',
        " {} ",
        f"[{MIN_INT}, {MAX_INT}, 0.1234567890123456789012345678, 1e308]",
    ],
)
def test_json_is_decoded_as_it_is(text: str) -> None:
    """Quotes, backslashes and brackets in strings do not confuse the counts."""
    assert decode(text) == json.loads(text)


def test_a_byte_order_mark_is_no_part_of_the_json() -> None:
    """Some editors of Windows write one into the files that curl sends."""
    assert decode(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "{",
        '{"a"',
        "NaN",
        "[Infinity]",
        "-Infinity",
        "1e999",
        "[01]",
        '"a',
        '"\\"',
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """Numbers that are none included."""
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        decode(text)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"a": "b', "it ends too early"),
        (b'{"a": -1e999}', "a number is out of range$"),
        ('{"a": 1}'.encode("utf-16"), "it is not UTF-8"),
        (b'{"a": "gr\xfc\xdfe"}', "it is not UTF-8"),
        (b"{'a': 1}", "object keys must be strings"),
    ],
)
def test_the_problem_is_named(document: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=f"the body is not valid JSON: .*{problem}"):
        JsonDecoder().decode(document)


@pytest.mark.parametrize(
    ("document", "problem", "param"),
    [
        (b'"\\udc00x"', r"^the body has half of a character \(\\udc00, a surrogate without its pair\)", None),
        (b'{"a": "\\ud800b"}', r"^a has half of a character \(\\ud800", "a"),
        (
            b'{"a": [{}, {"b": "\\ud83d\\ude00\\ud83d"}]}',
            r"^a\[1\]\.b has half of a character \(\\ud83d",
            "a[1].b",
        ),
        (b'{"\\udc00": 1}', r"^the body has half of a character \(\\udc00", None),
        (b'{"a": {"\\udc00": 1}}', r"^a has half of a character \(\\udc00", "a"),
    ],
)
def test_half_a_character_is_named_by_its_place(document: bytes, problem: str, param: str | None) -> None:
    """Programs that cut texts by UTF-16 units send them."""
    with pytest.raises(InvalidRequest, match=problem) as e:
        JsonDecoder().decode(document)
    assert e.value.param == param


def test_bytes_that_are_no_text_are_refused() -> None:
    """JSON is UTF-8."""
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        decode(b'"\xff"')


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"seed": 1, "seed": 2}', "seed"),
        ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "content"),
        ('{"a": {"properties": {"x": {}, "y": {}, "x": {}}}}', "x"),
        (r'{"a": 1, "\u0061": 2}', "a"),
        ('{"a": null, "a": null}', "a"),
        ('{"": 1, "": 1}', ""),
    ],
)
def test_a_key_that_stands_twice_is_refused_by_name(text: str, key: str) -> None:
    """A parser keeps one of the values; which of them was meant, only the client knows."""
    with pytest.raises(InvalidRequest, match="twice") as e:
        decode(text)
    assert e.value.param == key
    assert repr(key) in e.value.message


def test_one_key_in_several_objects_is_fine() -> None:
    """Colons in strings are no members either."""
    assert decode('[{"a": ":"}, {"a": {"a": "::"}}]') == [{"a": ":"}, {"a": {"a": "::"}}]


@pytest.mark.parametrize("number", [MAX_INT + 1, MIN_INT - 1, 10**60])
def test_a_number_too_large_for_any_field_is_refused_by_its_place(number: int) -> None:
    """Wherever it stands: other processes could not be told."""
    with pytest.raises(InvalidRequest, match="too large") as e:
        decode(json.dumps({"a": [0, {"b": number}]}))
    assert e.value.param == "a[1].b"


@pytest.mark.parametrize("text", ["9" * 65, "[" + "1" * MEGABYTE + "]", '{"a": -' + "1" * 401 + "}"])
def test_a_number_with_very_many_digits_is_refused_unread(text: str) -> None:
    """To read a million digits takes more than linear time."""
    with pytest.raises(InvalidRequest, match="digits"):
        decode(text)


@pytest.mark.parametrize("open_close", ["[]", '{"a":,}'])
def test_json_may_be_so_deep_and_no_deeper(open_close: str) -> None:
    """Later code recurses into it."""
    before, after = ("[", "]") if open_close == "[]" else ('{"a":', "}")
    assert decode(before * (MAX_DEPTH - 1) + "[]" + after * (MAX_DEPTH - 1))
    for depth in (MAX_DEPTH, 60_000):
        with pytest.raises(InvalidRequest, match="nested"):
            decode(before * depth + "[]" + after * depth)


HUGE = {
    "lists": "[" + "[]," * MEGABYTE + "[]]",
    "objects": "[" + "{}," * MEGABYTE + "{}]",
    "objects with one member": "[" + '{"a":{}},' * (MAX_CONTAINERS // 2) + "{}]",
    "numbers": "[" + "1," * (2 * MEGABYTE) + "1]",
    "strings": "[" + '"",' * MEGABYTE + '""]',
    "keys": "{" + ",".join(f'"{n}":0' for n in range(MAX_STRINGS + 1)) + "}",
}


@pytest.mark.parametrize("kind", HUGE)
def test_what_would_take_much_memory_is_refused_before_it_is_built(kind: str) -> None:
    """The number of values counts, for each takes many times the bytes that it has as text."""
    text = HUGE[kind].encode()
    tracemalloc.start()
    with pytest.raises(InvalidRequest, match="more than"):
        JsonDecoder().decode(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * MEGABYTE


def test_the_same_text_in_a_string_is_no_value() -> None:
    """Code and tables in a prompt are full of brackets and commas."""
    text = "[{}, :" * MEGABYTE
    assert decode(json.dumps({"content": text})) == {"content": text}


def test_the_limits_are_within_reach() -> None:
    """Of token lists, of conversations and of schemas."""
    assert len(decode("[" + "1," * (MAX_VALUES - 1) + "1]")) == MAX_VALUES
    assert len(decode("[" + "[]," * (MAX_CONTAINERS - 2) + "[]]")) == MAX_CONTAINERS - 1
    assert len(decode("[" + '"",' * (MAX_STRINGS - 1) + '""]')) == MAX_STRINGS


def test_documents_of_one_request_share_the_limits() -> None:
    """Else the arguments of a thousand calls would each have their own."""
    decoder = JsonDecoder()
    half = ("[" + "[]," * (MAX_CONTAINERS // 2) + "[]]").encode()
    decoder.decode(half)
    with pytest.raises(InvalidRequest, match="lists and objects"):
        decoder.decode(half)


@pytest.mark.parametrize(
    ("value", "count"),
    [({}, 0), ([1, 2], 2), ({"a": [1, {"b": 2}]}, 4), ([[[[]]]], 3), ({"a": "x" * 1000}, 1)],
)
def test_values_are_counted_up_to_a_limit(value: Any, count: int) -> None:
    """However they are nested."""
    assert not has_more_values(value, count)
    assert count == 0 or has_more_values(value, count - 1)
