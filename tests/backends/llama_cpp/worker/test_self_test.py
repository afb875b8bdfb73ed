"""Broken models are refused when they are loaded, or fail the requests that meet the fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.worker.runtime import LlamaRuntime, open_runtime
from edgeinfer.errors import DecodeFailed, ModelLoadFailed
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import Span
from tests.support.gguf import Weights, write_tiny
from tests.support.llama_client import supervised, text


def config(path: Path) -> LlamaConfig:
    return LlamaConfig(str(path), "broken", ctx=128, parallel=2, cells=384, batch=64, ubatch=32)


def no_numbers_for(letters: str) -> Callable[[Weights], None]:
    """Break the embeddings of single letters, which are followed by those of "!"."""

    def change(weights: Weights) -> None:
        weights["output.weight"] = weights["token_embd.weight"].copy()
        for letter in letters:
            weights["token_embd.weight"][ord(letter) - 33] = np.nan

    return change


def test_a_model_that_computes_no_numbers_is_refused(tmp_path: Path) -> None:
    """Its path is none of the clients' business."""

    def change(weights: Weights) -> None:
        weights["blk.1.ffn_down.weight"][3, 4] = np.nan

    write_tiny(tmp_path / "nan.gguf", change=change)
    with pytest.raises(ModelLoadFailed, match="broken fails its self-test: its logits are no numbers") as e:
        open_runtime(config(tmp_path / "nan.gguf"))
    assert str(tmp_path) not in e.value.message


@pytest.mark.parametrize("layout", ["streams", "unified"])
async def test_a_request_that_meets_broken_weights_fails_alone(tmp_path: Path, layout: Any) -> None:
    """The model is good for everything else: nothing of it stays in the cache, where it would spoil others."""
    write_tiny(tmp_path / "partly.gguf", change=no_numbers_for("xyz"))
    short = SamplingParams(
        temperature=0, max_tokens=5, ignore_eos=True, logit_bias={ord(c) - 33: -100.0 for c in "xyz"}
    )
    broken = replace(config(tmp_path / "partly.gguf"), layout=layout, flash_attention=layout == "unified")
    async with supervised(broken) as client:
        before = await text(client, "abc", short)
        for params in (short, SamplingParams(max_tokens=5, logprobs=3)):
            with pytest.raises(DecodeFailed, match="computed no numbers for this request"):
                await text(client, "abx", params)
        with pytest.raises(DecodeFailed, match="computed no numbers for this input"):
            await client.embed([[Span("abc")], [Span("y")]])
        assert before == await text(client, "abc", short)
        assert len((await client.embed([[Span("abc")]])).vectors) == 1
        assert client.health.restarts == 0


def test_a_model_that_generates_is_tried_for_embeddings(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure concerns embeddings only, so the model is served; a crash would end the worker while it loads."""
    write_tiny(tmp_path / "partly.gguf", change=no_numbers_for("A"))  # a letter of the text that is tried
    runtime = open_runtime(config(tmp_path / "partly.gguf"))
    assert isinstance(runtime, LlamaRuntime)
    runtime.close()
    assert "broken cannot embed: the model computed no numbers" in caplog.text
