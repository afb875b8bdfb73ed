"""The many ways to name a model."""

from __future__ import annotations

import pytest

from edgeinfer.errors import InvalidRequest
from edgeinfer.hub.reference import ModelReference, parse_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("r1-1.5b", ModelReference(name="r1-1.5b")),
        ("r1-1.5b:q4_k_m", ModelReference(name="r1-1.5b", quant="Q4_K_M")),
        ("a/b", ModelReference(repo="a/b")),
        ("hf.co/a/b:Q8_0", ModelReference(repo="a/b", quant="Q8_0")),
        ("https://huggingface.co/a/b/", ModelReference(repo="a/b")),
        ("a/b/c/d-Q4_0.gguf", ModelReference(repo="a/b", file="c/d-Q4_0.gguf")),
        (
            "https://huggingface.co/a/b/resolve/v1/d.gguf?download=true",
            ModelReference(repo="a/b", file="d.gguf", revision="v1"),
        ),
        ("huggingface.co/a/b/tree/main", ModelReference(repo="a/b", revision="main")),
    ],
)
def test_a_model_can_be_written_in_many_ways(text: str, reference: ModelReference) -> None:
    """As it stands in the address line, too."""
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a:",
        "a:b:c",
        "a:../b",
        "a/b/c.bin",
        "a/b/c.gguf:Q4_0",
        "a/../b",
        "a/b/../c.gguf",
        "a b",
        "a/b/.gguf/x",
    ],
)
def test_what_is_no_model_is_refused(text: str) -> None:
    """With the forms that are."""
    with pytest.raises(InvalidRequest, match="is not a model") as error:
        parse_reference(text)
    assert error.value.hint
    assert "OWNER/REPO:QUANT" in error.value.hint


@pytest.mark.parametrize("text", ["/x.gguf", "./x.gguf", "~/x.gguf", "../x"])
def test_a_path_is_for_import(text: str) -> None:
    """There is a command for it."""
    with pytest.raises(InvalidRequest, match="not a model on the hub") as error:
        parse_reference(text)
    assert error.value.hint == f"for a file on this machine: edgeinfer models import {text}"
