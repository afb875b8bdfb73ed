"""POST /v1/embeddings, against a model that follows a script."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from edgeinfer.serving.embedding import cut_vector
from tests.support.server import Scripted, Served, error, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(Scripted()) as daemon:
        yield daemon


def embed(served: Served, **fields: Any) -> Any:
    return served.client.post("/v1/embeddings", json=fields)


@pytest.mark.parametrize(("inputs", "count"), [("a", 1), (["a", "b"], 2), ([1, 2], 1), ([[1], [2]], 2)])
def test_each_input_has_a_vector(served: Served, inputs: object, count: int) -> None:
    """One text, several, one list of tokens, several."""
    body = embed(served, input=inputs).json()
    assert [d["index"] for d in body["data"]] == list(range(count))
    assert body["data"][0]["embedding"] == pytest.approx([0.8, 0.6, 0, 0])
    assert body["usage"] == {"prompt_tokens": 3 * count, "total_tokens": 3 * count}
    assert body["model"] == "scripted"


def test_base64_is_little_endian_floats(served: Served) -> None:
    """What openai's client asks for unless told otherwise."""
    encoded = embed(served, input="a", encoding_format="base64").json()["data"][0]["embedding"]
    assert struct.unpack("<4f", base64.b64decode(encoded)) == pytest.approx([0.8, 0.6, 0, 0])


def test_fewer_dimensions_are_cut_and_made_length_one_again(served: Served) -> None:
    """As models trained for it want it."""
    assert embed(served, input="a", dimensions=1).json()["data"][0]["embedding"] == [1.0]
    assert struct.unpack("<2f", cut_vector(struct.pack("<3f", 3, 4, 5), 2)) == pytest.approx([0.6, 0.8])
    assert cut_vector(bytes(8), 1) == bytes(4)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": "a", "dimensions": 5}, "dimensions"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": [300]}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({}, "input"),
    ],
)
def test_what_cannot_be_done_is_refused(served: Served, fields: dict[str, Any], param: str) -> None:
    """By name."""
    response = embed(served, **fields)
    assert (response.status_code, error(response)["param"]) == (400, param)
