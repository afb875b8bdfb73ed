"""POST /api/generate, against a model that follows a script."""

from __future__ import annotations

from typing import Any

import pytest

from edgeinfer.inference.types import FimTokens, Span
from tests.support.ollama import THINKING, lines, scripted, send
from tests.support.server import Scripted, serving


def prompt_of(model: Scripted) -> str:
    return "".join(part.text if isinstance(part, Span) else f"<{part}>" for part in model.requests[-1][0])


def test_a_prompt_is_a_question_of_the_user() -> None:
    """With the request's system text before it."""
    model = scripted("Hel", "lo")
    with serving(model) as served:
        *chunks, last = lines(send(served, "/api/generate", prompt="Hi", system="Be brief."))
        whole = send(served, "/api/generate", prompt="Hi", stream=False).json()
    assert ["Hel", "lo", ""] == [chunk["response"] for chunk in [*chunks, last]]
    assert ("stop", True, 2) == (last["done_reason"], last["done"], last["eval_count"])
    assert "Hello" == whole["response"]
    assert "context" not in whole
    assert "[user]Hi\n[assistant]" == prompt_of(model)


def test_a_raw_prompt_is_for_the_model_as_it_is() -> None:
    model = scripted("Hi")
    with serving(model) as served:
        send(served, "/api/generate", prompt="<|end|>once", raw=True)
    assert [Span("<|end|>once", trusted=True)] == model.requests[-1][0]


def test_a_suffix_is_what_comes_after_the_gap() -> None:
    """A model without the tokens for that refuses it."""
    model = scripted("return a", fim=FimTokens(1, 2, 3))
    with serving(model) as served:
        assert (
            "return a"
            == send(served, "/api/generate", prompt="pre", suffix="suf", stream=False).json()["response"]
        )
    assert "<1>pre<2>suf<3>" == prompt_of(model)
    with serving(scripted("Hi")) as served:
        assert 400 == send(served, "/api/generate", prompt="pre", suffix="suf").status_code


def test_thoughts_have_a_field_of_their_own() -> None:
    with serving(scripted("Hm.\n</think>\n\n4", template=THINKING)) as served:
        whole = send(served, "/api/generate", prompt="2+2", stream=False).json()
    assert ("Hm.", "4") == (whole["thinking"].strip(), whole["response"])


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"template": "{{ .Prompt }}"}, "raw"),
        ({"context": [1, 2, 3]}, "/api/chat"),
        ({"images": ["aGk="]}, "leave the images out"),
        ({"raw": True, "system": "x"}, "raw mode"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_do(fields: dict[str, Any], hint: str) -> None:
    with serving(scripted("Hi")) as served:
        response = send(served, "/api/generate", prompt="Hi", **fields)
    assert 400 == response.status_code
    assert hint in response.json()["error"]


def test_empty_fields_of_that_kind_are_fine() -> None:
    """Clients send them all the time."""
    empty: dict[str, Any] = {
        "template": "",
        "context": [],
        "images": [],
        "suffix": "",
        "system": "",
        "format": "",
    }
    with serving(scripted("Hi")) as served:
        assert 200 == send(served, "/api/generate", prompt="Hi", width=1, **empty).status_code
