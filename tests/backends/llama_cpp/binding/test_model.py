"""What a model file says about itself, through llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.model_limits import MAX_TEMPLATE
from tests.support.gguf import CONTROLS, TEMPLATE, write_tiny


@pytest.mark.parametrize(
    ("controls", "template", "words"),
    [
        ([chr(0x4E00 + n) for n in range(6988)], TEMPLATE, "6988 different characters"),
        (["<s>", "<" + "a" * 3000 + ">"], TEMPLATE, "a control token of 3002 characters"),
        (CONTROLS, "x" * (MAX_TEMPLATE + 1), "chat template is not usable"),
    ],
    ids=("symbols", "long", "template"),
)
def test_model_beyond_all_measure_is_refused(
    controls: list[str], template: str, words: str, tmp_path: Path, llama_log: LogCapture
) -> None:
    """Before anything searches for its control tokens, or reads its template."""
    write_tiny(path := tmp_path / "tiny.gguf", controls=controls, template=template)
    config = LlamaConfig(model=str(path), name="tiny", ctx=64, cells=64)
    model = LlamaModel(config, llama_log)
    with pytest.raises(ModelLoadFailed, match=words):
        model.info(config)
    model.close()


def test_it_tells_how_much_of_a_model_has_been_read(model_file: Path, llama_log: LogCapture) -> None:
    config = LlamaConfig(model=str(model_file), name="nano", ctx=64, cells=64)
    shares: list[float] = []
    LlamaModel(config, llama_log, shares.append).close()
    assert len(shares) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
