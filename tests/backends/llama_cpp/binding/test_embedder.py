from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import gguf
import llama_cpp.llama_cpp as lib
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from edgeinfer.backends.llama_cpp.binding.embedder import Embedder, open_embedder
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.backends.llama_cpp.worker.runtime import open_runtime
from edgeinfer.errors import ContextLengthExceeded
from edgeinfer.inference.types import Span
from tests.support.bert import CLS, SEP, WIDTH, WORDS, write_bert

TEXTS = [
    "Turn on the light in the kitchen.",
    "The sky is blue.",
    "x",
    "One day, a little girl went to the park with her dog. " * 3,
    "What can you do without a network?",
]


@pytest.fixture(scope="module")
def bert_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "bert.gguf"
    write_bert(path)
    return path


@pytest.fixture(scope="module")
def base(model_file: Path) -> LlamaConfig:
    return LlamaConfig(
        model=str(model_file), name="test", ctx=256, parallel=2, cells=512, batch=128, threads=1
    )


@pytest.fixture(scope="module")
def model(base: LlamaConfig, llama_log: LogCapture) -> Iterator[LlamaModel]:
    loaded = LlamaModel(base, llama_log)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def embedder(model: LlamaModel, base: LlamaConfig) -> Iterator[Embedder]:
    opened = open_embedder(model, base)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def bert(bert_file: Path, base: LlamaConfig, llama_log: LogCapture) -> Iterator[LlamaModel]:
    loaded = LlamaModel(msgspec.structs.replace(base, model=str(bert_file)), llama_log)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def bert_embedder(bert: LlamaModel, base: LlamaConfig) -> Iterator[Embedder]:
    opened = open_embedder(bert, base)
    yield opened
    opened.close()


def tokens(model: LlamaModel, *texts: str) -> list[list[int]]:
    return [model.vocab.tokenize(text, special=False, add_special=True) for text in texts]


def test_embeddings_are_normalised(model: LlamaModel, embedder: Embedder) -> None:
    """Each input gives one vector of the model's width."""
    vectors = embedder.embed(tokens(model, *TEXTS))
    assert [(model.n_embd,)] * len(TEXTS) == [v.shape for v in vectors]
    assert [pytest.approx(1, abs=1e-5)] * len(TEXTS) == [float(np.linalg.norm(v)) for v in vectors]


def test_the_same_text_has_the_same_vector(model: LlamaModel, embedder: Embedder) -> None:
    """Different texts have different vectors."""
    a, b, c = embedder.embed(tokens(model, TEXTS[0], TEXTS[0], TEXTS[1]))
    (again,) = embedder.embed(tokens(model, TEXTS[0]))
    assert float(a @ b) == pytest.approx(1, abs=1e-3)
    assert float(a @ again) == pytest.approx(1, abs=1e-3)
    assert float(a @ c) < 0.999


def test_embedding_texts_together_does_not_change_them(model: LlamaModel, embedder: Embedder) -> None:
    """There are more texts than one batch holds, of very different lengths."""
    inputs = tokens(model, *TEXTS * 4)
    alone = [embedder.embed([i])[0] for i in inputs]
    together = embedder.embed(inputs)
    assert max(float(np.abs(a - b).max()) for a, b in zip(alone, together, strict=True)) < 1e-3


def raw(model: LlamaModel, tokens: list[int]) -> npt.NDArray[np.float32]:
    """The mean over all tokens by llama.cpp's own pooling, in one batch of a separate context."""
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = 1
    params.embeddings = True
    params.flash_attn_type = 0
    params.pooling_type = gguf.PoolingType.MEAN
    context = lib.llama_init_from_model(model.pointer, params)
    array = (lib.llama_token * len(tokens))(*tokens)
    assert 0 == lib.llama_decode(context, lib.llama_batch_get_one(array, len(tokens)))
    pointer = lib.llama_get_embeddings_seq(context, 0)
    vector = np.ctypeslib.as_array(pointer, (model.n_embd,)).copy()
    lib.llama_free(context)
    unit: npt.NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit


@pytest.mark.parametrize("n", [1, 2, 127, 128, 129, 256])
def test_a_vector_is_that_of_raw_llama_cpp(model: LlamaModel, embedder: Embedder, n: int) -> None:
    """Vectors are means over the whole input, however it is split into chunks."""
    tokens = [(7 * i) % 300 + 10 for i in range(n)]
    (vector,) = embedder.embed([tokens])
    # Flash attention, which some devices get unasked, would make a difference of 1e-3. On ARM, llama.cpp multiplies a row
    # alone with keys and values, which is what is left of 129 tokens, in another order than several.
    bound = 1e-5 if platform.machine() == "x86_64" else 1e-4
    assert raw(model, tokens).tolist() == pytest.approx(vector.tolist(), abs=bound)


def test_an_input_as_long_as_the_context_is_embedded(embedder: Embedder) -> None:
    """A longest input leaves the next one unchanged."""
    vectors = embedder.embed([[5] * embedder.max_tokens, [6] * embedder.max_tokens, [7]])
    assert [pytest.approx(1, abs=1e-5)] * 3 == [float(np.linalg.norm(v)) for v in vectors]


def test_an_input_that_is_too_long_is_refused_with_the_counts(embedder: Embedder) -> None:
    """A long input is refused rather than silently truncated."""
    with pytest.raises(
        ContextLengthExceeded, match=f"{embedder.max_tokens} tokens.*input 1.*{embedder.max_tokens + 1}"
    ):
        embedder.embed([[5], [5] * (embedder.max_tokens + 1)])
    assert 1 == len(embedder.embed([[5]]))


def test_no_inputs_have_no_vectors(embedder: Embedder) -> None:
    """No inputs give no vectors."""
    assert [] == embedder.embed([])


def test_an_encoder_only_model_says_that_it_does_not_generate(
    bert: LlamaModel, model: LlamaModel, base: LlamaConfig
) -> None:
    """An encoder cannot generate."""
    info = bert.info(base)
    assert (False, "bert", WIDTH, 64) == (info.generates, info.architecture, info.n_embd, info.n_ctx_train)
    assert model.info(base).generates


def test_an_encoder_only_model_wants_cls_and_sep_around_a_text(bert: LlamaModel) -> None:
    """CLS and SEP come with `add_special`."""
    (ids,) = tokens(bert, "the sky is blue")
    assert [CLS, *(WORDS.index(f"▁{w}") for w in ("the", "sky", "is", "blue")), SEP] == ids


def test_an_encoder_only_model_embeds(bert: LlamaModel, bert_embedder: Embedder) -> None:
    """Vectors are normalised, distinct, and the same alone and among others."""
    inputs = tokens(bert, "the sky is blue", "the light is blue", "blue", "the sky is blue")
    together = bert_embedder.embed(inputs * 3)
    alone = [bert_embedder.embed([i])[0] for i in inputs]
    assert [pytest.approx(1, abs=1e-5)] * 12 == [float(np.linalg.norm(v)) for v in together]
    assert max(float(np.abs(a - b).max()) for a, b in zip(alone * 3, together, strict=True)) < 1e-3
    assert float(alone[0] @ alone[3]) == pytest.approx(1, abs=1e-3)
    assert float(alone[0] @ alone[1]) < 0.999


def test_an_encoder_only_model_is_limited_to_what_it_was_trained_for(bert_embedder: Embedder) -> None:
    """A longer input would need positions that the model does not have."""
    assert 64 == bert_embedder.max_tokens


def test_a_runtime_of_an_encoder_only_model_has_no_backend(bert_file: Path, base: LlamaConfig) -> None:
    """An encoder is loaded without a backend, and embeds."""
    runtime = open_runtime(msgspec.structs.replace(base, model=str(bert_file)))
    assert runtime.backend is None
    inputs = [runtime.embed_tokens([Span("the sky is blue")]), runtime.embed_tokens([CLS, 5, SEP])]
    assert [CLS, SEP] == [inputs[0][0], inputs[0][-1]]
    assert [CLS, 5, SEP] == inputs[1]
    assert 2 == len(runtime.embed(inputs))
    runtime.close()


def test_a_runtime_makes_vectors_and_text_side_by_side(base: LlamaConfig) -> None:
    """The two contexts do not disturb each other, and closing frees both."""
    runtime = open_runtime(base)
    assert runtime.backend is not None
    assert runtime.info.generates
    vectors = [runtime.embed([runtime.embed_tokens([Span("Hello")])])[0] for _ in range(2)]
    assert vectors[0].tolist() == pytest.approx(vectors[1].tolist())
    runtime.close()
