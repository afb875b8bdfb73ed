"""What a file's name says about the model in it."""

from __future__ import annotations

import pytest

from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.file_name import is_model_file, name_from_file, quant_from_file, quant_label, slug


@pytest.mark.parametrize(
    ("file", "name", "quant"),
    [
        ("DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf", "deepseek-r1-distill-qwen-1.5b", "Q4_K_M"),
        ("qwen2.5-coder-0.5b-instruct-q8_0.gguf", "qwen2.5-coder-0.5b-instruct", "Q8_0"),
        ("Llama-3.2-1B-Instruct-f16.gguf", "llama-3.2-1b-instruct", "F16"),
        ("gemma.UD-Q4_K_XL.GGUF", "gemma", "UD-Q4_K_XL"),
        ("stories260K.gguf", "stories260k", None),
        ("Q4_0.gguf", "model", "Q4_0"),
        ("Ünïcode—名.gguf", "n-code", None),
        ("..-..gguf", "model", None),
        ("a" * 300 + ".gguf", "a" * 80, None),
    ],
)
def test_names_and_quantizations_are_read_of_file_names(file: str, name: str, quant: str | None) -> None:
    """As the hub's usual ones are made."""
    assert (name, quant) == (name_from_file(file), quant_from_file(file))


def test_every_name_of_the_catalogue_is_one_that_a_file_could_have() -> None:
    """Else an import could never be called so."""
    assert [name for name in catalogue() if slug(name) != name] == []


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("some-Q4_0.gguf", True),
        ("Q4_0/some-Q4_0.GGUF", True),
        ("some-00001-of-00003.gguf", False),
        ("mmproj-some-f16.gguf", False),
        ("some.bin", False),
        ("../some.gguf", False),
        ("so\x1bme.gguf", False),
        ("so\udc80me.gguf", False),
    ],
)
def test_what_is_called_like_a_model(file: str, expected: bool) -> None:
    """A part is none, nor is a projector."""
    assert expected == is_model_file(file)


@pytest.mark.parametrize(
    ("file", "quant"),
    [
        ("DeepSeek-R1-Distill-Qwen-1.5B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("nomic-embed-text-v1.5.f16.gguf", "F16"),
        ("qwen-fp16.gguf", "F16"),
        ("model-BF16.gguf", "BF16"),
        ("Qwen3-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("x.IQ4_NL.gguf", "IQ4_NL"),
        ("BF16/gpt-oss-mxfp4.gguf", "MXFP4"),
        ("Q4_0.gguf", "Q4_0"),
        ("Qwen3-0.6B.gguf", "GGUF"),
        ("MonoQ4_0x.gguf", "GGUF"),
    ],
)
def test_the_quantization_is_read_from_the_name(file: str, quant: str) -> None:
    """As publishers write it."""
    assert quant_label(file) == quant
