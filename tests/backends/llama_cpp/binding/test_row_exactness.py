"""A token's logits are the same to the bit, however many tokens are computed with it, and of whatever sequences.

So an answer does not depend on its neighbours, on how its prompt was cut into batches, or on what was guessed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as lib
import numpy as np
import numpy.typing as npt
import pytest

from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.hardware import detect
from edgeinfer.plan.kernels import has_kernels
from edgeinfer.plan.speed import instruction_sets
from tests.support.requantized import write_requantized

PROFILE = detect()

pytestmark = pytest.mark.skipif(
    not has_kernels(PROFILE) or "amx" in instruction_sets(PROFILE),
    reason="scripts/setup adds the kernels that make it so on Linux and x86-64, for AVX2 and without AMX",
)

LENGTH, MORE = 300, 8
"""Tokens of a prompt, and those computed after it."""

SEQUENCES = 4

FORMATS = {
    "F16": lib.LLAMA_FTYPE_MOSTLY_F16,
    "Q4_0": lib.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_1": lib.LLAMA_FTYPE_MOSTLY_Q4_1,
    "Q5_0": lib.LLAMA_FTYPE_MOSTLY_Q5_0,
    "Q5_1": lib.LLAMA_FTYPE_MOSTLY_Q5_1,
    "Q8_0": lib.LLAMA_FTYPE_MOSTLY_Q8_0,  # as the bundled model is
    "Q4_K_M": lib.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q6_K": lib.LLAMA_FTYPE_MOSTLY_Q6_K,
}
"""The plan counts on these: plan/determinism.py."""

Logits = npt.NDArray[np.float32]


class Computed:
    """Computes parts of random prompts, one prompt for each sequence."""

    def __init__(self, backend: LlamaBackend, config: LlamaConfig) -> None:
        self.backend = backend
        self.ubatch = config.ubatch
        self.batch = Batch(config.batch)
        vocabulary = backend.vocab.size
        random = np.random.default_rng(1)
        self.prompts = random.integers(0, vocabulary, (SEQUENCES, LENGTH + MORE)).tolist()

    def parts(self, *parts: tuple[int, int, int]) -> list[Logits]:
        """Compute tokens start..end of each sequence, given as (sequence, start, end), in one batch; -> all logits."""
        self.batch.clear()
        for sequence, start, end in parts:
            tokens = self.prompts[sequence][start:end]
            self.batch.add(sequence, start, tokens[:1], output=True, draft=tokens[1:])
        assert self.backend.decode(self.batch) is DecodeStatus.OK
        return [self.backend.logits(i).copy() for i in range(self.batch.size)]

    def prompt(self, *cuts: int, sequence: int = 0) -> Logits:
        """Compute a prompt in parts that end at `cuts`; -> the logits of its last token."""
        ends = sorted({*cuts, *range(self.ubatch, LENGTH, self.ubatch), LENGTH})
        for start, end in zip([0, *ends], ends, strict=False):
            logits = self.parts((sequence, start, end))
        return logits[-1]


@pytest.fixture(scope="module", params=[*FORMATS, "Q8_0 without flash attention"])
def computed(
    request: pytest.FixtureRequest,
    model_file: Path,
    llama_log: LogCapture,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Computed]:
    """With as many threads as a small board has: which of them computes a row must not matter either."""
    file = model_file
    kind, _, plain = request.param.partition(" ")
    if kind != "Q8_0":
        file = tmp_path_factory.mktemp("model") / "model.gguf"
        write_requantized(model_file, file, FORMATS[kind])
    config = LlamaConfig(
        model=str(file),
        name="test",
        ctx=384,
        parallel=SEQUENCES,
        cells=2048,
        batch=128,
        ubatch=128,
        threads=3,
        max_draft=128,  # all logits of a batch are wanted
        layout="streams",
        flash_attention=not plain,
    )
    model = LlamaModel(config, llama_log)
    backend = LlamaBackend(model, config)
    yield Computed(backend, config)
    backend.close()
    model.close()


@pytest.fixture(autouse=True)
def nothing_computed(computed: Computed) -> None:
    computed.backend.clear()


@pytest.mark.parametrize(
    "cuts", [(1,), (7, 8, 9), (100,), (250, 251, 253, 297), tuple(range(1, LENGTH))], ids=len
)
def test_how_a_prompt_is_cut_changes_nothing(computed: Computed, cuts: tuple[int, ...]) -> None:
    whole = computed.prompt()
    computed.backend.clear()
    np.testing.assert_array_equal(whole, computed.prompt(*cuts))


def test_guessed_tokens_are_computed_as_each_alone(computed: Computed) -> None:
    computed.prompt()
    alone = [computed.parts((0, LENGTH + i, LENGTH + i + 1))[0] for i in range(MORE)]
    for count in range(2, MORE + 1):
        computed.backend.remove(0, LENGTH)
        together = computed.parts((0, LENGTH, LENGTH + count))
        np.testing.assert_array_equal(together, alone[:count])


def test_other_sequences_change_nothing(computed: Computed) -> None:
    computed.prompt()
    alone = [computed.parts((0, LENGTH + i, LENGTH + i + 1))[0] for i in range(MORE)]
    computed.backend.clear()
    for sequence in range(SEQUENCES):
        computed.prompt(sequence=sequence)
    beside = [
        computed.parts(*((s, LENGTH + i, LENGTH + i + 1) for s in range(SEQUENCES)))[0] for i in range(MORE)
    ]
    np.testing.assert_array_equal(beside, alone)


def test_a_prompt_that_is_read_beside_another_is_computed_as_alone(computed: Computed) -> None:
    whole = computed.prompt()
    computed.backend.clear()
    for start in range(0, LENGTH, 60):
        logits = computed.parts((1, start, start + 60), (0, start, start + 60))
    np.testing.assert_array_equal(whole, logits[-1])


@pytest.mark.parametrize("shared", [9, LENGTH])
def test_a_copied_prefix_is_as_a_computed_one(computed: Computed, shared: int) -> None:
    """Few tokens are copied by themselves, many with the whole stream."""
    computed.prompt()
    computed.backend.remove(0, shared)
    alone = computed.parts((0, shared, shared + MORE))
    computed.backend.remove(0, shared)
    computed.backend.copy(0, 1)
    computed.prompts[1][shared : shared + MORE] = computed.prompts[0][shared : shared + MORE]
    np.testing.assert_array_equal(alone, computed.parts((1, shared, shared + MORE)))
