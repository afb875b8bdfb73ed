"""Names of models as people write them: ours, with a quantization, and as in Ollama's library."""

from __future__ import annotations

import pytest

from edgeinfer.errors import InvalidRequest
from edgeinfer.hub.reference import parse_reference
from edgeinfer.store.catalogue import resolve_spec
from edgeinfer.store.model_name import split_name


@pytest.mark.parametrize(
    ("text", "name", "quant"),
    [
        ("qwen3-0.6b", "qwen3-0.6b", None),
        ("qwen3-0.6b:Q8_0", "qwen3-0.6b", "Q8_0"),
        ("qwen3-0.6b:q8_0", "qwen3-0.6b", "q8_0"),
        ("mine:UD-Q4_K_XL", "mine", "UD-Q4_K_XL"),
        ("qwen3:0.6b", "qwen3-0.6b", None),
        ("qwen3:4b", "qwen3-4b-instruct-2507", None),
        ("Qwen3:1.7B", "qwen3-1.7b", None),
        ("qwen3:0.6b-q8_0", "qwen3-0.6b", "q8_0"),
        ("llama3.2:1b", "llama-3.2-1b", None),
        ("llama3.2:1b-instruct-q4_K_M", "llama-3.2-1b", "q4_K_M"),
        ("llama3.2:3b", "llama-3.2-3b", None),
        ("llama3.2:latest", "llama3.2", None),
        ("deepseek-r1:1.5b", "deepseek-r1-distill-qwen-1.5b", None),
        ("gemma3:1b", "gemma-3-1b", None),
        ("gemma3:1b-it-q4_K_M", "gemma-3-1b", "q4_K_M"),
        ("phi4-mini:3.8b", "phi-4-mini", None),
        ("smollm3:3b", "smollm3-3b", None),
        ("qwen2.5-coder:0.5b", "qwen2.5-coder-0.5b", None),
        ("nomic-embed-text:v1.5", "nomic-embed-text-v1.5", None),
    ],
)
def test_a_name_is_split(text: str, name: str, quant: str | None) -> None:
    assert split_name(text) == (name, quant)


@pytest.mark.parametrize(
    "text", ["qwen3:70b", "deepseek-r1:70b", "phi4-mini:14b", "llama3.2:90b", "nothing:7b"]
)
def test_a_size_that_the_catalogue_lacks_is_no_other_size(text: str) -> None:
    name, quant = split_name(text)
    assert (name, quant) == (text.replace(":", "-"), None)


@pytest.mark.parametrize(
    ("text", "name"),
    [("llama3.2", "llama-3.2-3b"), ("PHI4-mini", "phi-4-mini"), ("Qwen3_0.6B", "qwen3-0.6b")],
)
def test_neither_case_nor_punctuation_counts(text: str, name: str) -> None:
    assert resolve_spec(text)[0] == name


def test_a_download_is_asked_for_by_the_same_names() -> None:
    assert parse_reference("qwen3:0.6b").name == "qwen3-0.6b"
    assert parse_reference("qwen3:0.6b-q8_0").quant == "Q8_0"
    assert parse_reference("hf.co/someone/Model-GGUF:Q4_K_M").quant == "Q4_K_M"
    with pytest.raises(InvalidRequest, match="followed by a quantization"):
        parse_reference("someone/model:")


@pytest.mark.parametrize(
    "text",
    ["https://example.com/x.gguf", "http://localhost:8080/a/b", "ollama://qwen3", "https://hf.co.evil/a/b"],
)
def test_addresses_of_other_sites_are_told_from_names(text: str) -> None:
    """A colon in them does not begin a quantization."""
    with pytest.raises(InvalidRequest, match=r"is not on huggingface\.co") as e:
        parse_reference(text)
    assert "edgeinfer models import" in (e.value.hint or "")
