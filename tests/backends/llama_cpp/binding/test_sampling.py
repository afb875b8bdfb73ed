"""The engine's sampler beside llama.cpp's own."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt
import pytest

from edgeinfer.engine.sampler import Sampler
from edgeinfer.inference.sampling import SamplingParams

PLAIN: dict[str, Any] = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
INITIALISERS = {
    "typical_p": lib.llama_sampler_init_typical,
    "top_p": lib.llama_sampler_init_top_p,
    "min_p": lib.llama_sampler_init_min_p,
}


def kept_by_llama_cpp(logits: npt.NDArray[np.float32], name: str, value: float) -> set[int]:
    data = (lib.llama_token_data * len(logits))()
    for token, logit in enumerate(logits.tolist()):
        data[token] = lib.llama_token_data(token, logit, 0.0)
    candidates = lib.llama_token_data_array(data, len(logits), -1, False)
    sampler = INITIALISERS[name](value, 1)
    lib.llama_sampler_apply(sampler, ctypes.byref(candidates))
    lib.llama_sampler_free(sampler)
    return {int(candidates.data[i].id) for i in range(candidates.size)}


@pytest.mark.parametrize("name", INITIALISERS)
@pytest.mark.parametrize("value", [0.03, 0.2, 0.5, 0.8, 0.97])
def test_a_filter_keeps_the_tokens_that_llama_cpp_keeps(name: str, value: float) -> None:
    """Of rows flat and peaked; enough draws hit each token that is left."""
    for seed, scale in enumerate((0.3, 1.0, 2.5)):
        logits = np.random.default_rng(seed).normal(0, scale, 12).astype(np.float32)
        params = SamplingParams(**PLAIN | {name: value})
        tokens = {Sampler(params, draw, 0).sample(logits.copy()) for draw in range(3000)}
        expected = kept_by_llama_cpp(logits, name, value)
        assert tokens <= expected
        weights = np.exp(logits - logits.max())
        total = sum(weights[token] for token in expected)
        assert {t for t in expected if weights[t] / total > 0.005} <= tokens
