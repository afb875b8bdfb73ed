from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import llama_cpp.llama_cpp as lib
import msgspec
import numpy as np
import pytest

from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Batch, DecodeStatus
from edgeinfer.engine.engine import Engine
from edgeinfer.engine.sequence import Request
from edgeinfer.errors import ModelLoadFailed
from edgeinfer.inference.output import Finish
from edgeinfer.inference.sampling import SamplingParams
from tests.support.nano import PROMPTS

TOKENS = 24
GREEDY = SamplingParams(temperature=0.0, max_tokens=TOKENS)

Open = Callable[[LlamaConfig], LlamaBackend]


@pytest.fixture(scope="module")
def base(model_file: Path) -> LlamaConfig:
    """A configuration with one thread: sums have one order, so that runs can be compared."""
    return LlamaConfig(
        model=str(model_file), name="test", ctx=256, parallel=8, cells=2304, batch=128, ubatch=64, threads=1
    )


@pytest.fixture(scope="module")
def model(base: LlamaConfig, llama_log: LogCapture) -> Iterator[LlamaModel]:
    loaded = LlamaModel(base, llama_log)
    yield loaded
    loaded.close()


@pytest.fixture
def opened(model: LlamaModel) -> Iterator[Open]:
    """A function that opens backends, which are closed at the end."""
    backends: list[LlamaBackend] = []

    def make(config: LlamaConfig) -> LlamaBackend:
        backends.append(LlamaBackend(model, config))
        return backends[-1]

    yield make
    for backend in backends:
        backend.close()


@pytest.fixture(params=["streams", "unified", "unified, flash"])
def config(request: pytest.FixtureRequest, base: LlamaConfig) -> LlamaConfig:
    layout, _, flash = request.param.partition(", ")
    return msgspec.structs.replace(base, layout=layout, flash_attention=bool(flash))


class Texts:
    """Runs requests on an engine until they finish."""

    def __init__(self, backend: LlamaBackend, config: LlamaConfig) -> None:
        self.backend = backend
        self.engine = Engine(backend, config, lambda: 0.0)
        self.finishes: dict[int, Finish] = {}

    def of(self, *prompts: str, params: SamplingParams = GREEDY) -> list[str]:
        for id, prompt in enumerate(prompts):
            self.engine.add(Request(id, self.backend.vocab.tokenize(prompt, special=True), params))
        texts = [""] * len(prompts)
        while self.engine.has_work:
            for delta in self.engine.step():
                texts[delta.id] += delta.text
                if delta.finish:
                    self.finishes[delta.id] = delta.finish
        self.engine.check_integrity()
        assert [] == self.engine.failures
        return texts


def raw(model: LlamaModel, prompt: str, flash: bool) -> str:
    """A greedy answer from the simplest loop over llama.cpp's functions, with one sequence in its own context."""
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = 256
    params.n_ubatch = 64
    params.n_threads = params.n_threads_batch = 1
    params.flash_attn_type = int(flash)
    context = lib.llama_init_from_model(model.pointer, params)
    vocab = lib.llama_model_get_vocab(model.pointer)
    data = prompt.encode()
    tokens = (lib.llama_token * 256)()
    n = lib.llama_tokenize(vocab, data, len(data), tokens, 256, False, True)
    answer = b""
    for _ in range(TOKENS):
        assert 0 == lib.llama_decode(context, lib.llama_batch_get_one(tokens, n))
        logits = np.ctypeslib.as_array(lib.llama_get_logits_ith(context, -1), (model.vocab.size,))
        tokens[0], n = int(logits.argmax()), 1
        if lib.llama_vocab_is_eog(vocab, tokens[0]):
            break
        buffer = ctypes.create_string_buffer(256)
        length = lib.llama_token_to_piece(vocab, tokens[0], buffer, 256, 0, False)
        answer += buffer.raw[:length]
    lib.llama_free(context)
    return answer.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def expected(model: LlamaModel) -> Callable[[bool], list[str]]:
    """The answers of raw llama.cpp, with flash attention or without."""
    texts_by_flash: dict[bool, list[str]] = {}

    def texts(flash: bool) -> list[str]:
        if flash not in texts_by_flash:
            texts_by_flash[flash] = [raw(model, prompt, flash) for prompt in PROMPTS]
        return texts_by_flash[flash]

    return texts


def test_an_answer_alone_is_that_of_raw_llama_cpp(
    opened: Open, config: LlamaConfig, expected: Callable[[bool], list[str]]
) -> None:
    """Requests run one after the other, each with what the previous ones left in the cache."""
    texts = Texts(opened(config), config)
    assert expected(config.flash_attention) == [texts.of(prompt)[0] for prompt in PROMPTS]


def test_answers_in_a_batch_of_8_are_those_of_raw_llama_cpp(
    opened: Open, config: LlamaConfig, expected: Callable[[bool], list[str]]
) -> None:
    """Requests run at the same time and share prefixes while these are computed."""
    texts = Texts(opened(config), config)
    assert expected(config.flash_attention) == texts.of(*PROMPTS)
    assert sum(f.cached_tokens for f in texts.finishes.values()) > 0


@pytest.mark.parametrize("cells", [256, 300, 512])
def test_answers_that_were_preempted_are_those_of_raw_llama_cpp(
    cells: int, opened: Open, base: LlamaConfig, expected: Callable[[bool], list[str]]
) -> None:
    """The pool is too small for all requests at once."""
    config = msgspec.structs.replace(base, layout="unified", cells=cells)
    texts = Texts(opened(config), config)
    assert expected(False) == texts.of(*PROMPTS)


def test_answers_after_aborts_are_those_of_raw_llama_cpp(
    opened: Open, config: LlamaConfig, expected: Callable[[bool], list[str]]
) -> None:
    """Another thread cuts prefills short; each is repeated."""
    texts = Texts(opened(config), config)
    over = threading.Event()

    def abort() -> None:
        for _ in range(20):  # and then no more, as a slow machine might never come to an end
            if not over.wait(0.01):
                texts.engine.abort_prefill(5)

    thread = threading.Thread(target=abort)
    thread.start()
    try:
        assert expected(config.flash_attention) == texts.of(*PROMPTS)
    finally:
        over.set()
        thread.join()


def test_a_seeded_answer_is_the_same_alone_and_in_a_batch(opened: Open, config: LlamaConfig) -> None:
    """Batching changes no sampled answer either."""
    params = SamplingParams(temperature=0.8, seed=42, max_tokens=TOKENS)
    texts = Texts(opened(config), config)
    alone = [texts.of(prompt, params=params)[0] for prompt in PROMPTS]
    assert alone == texts.of(*PROMPTS, params=params)


def test_an_abort_inside_a_long_prefill_stops_the_decode(opened: Open, config: LlamaConfig) -> None:
    """The cells it left are dropped, and the sequence can be computed again."""
    large = msgspec.structs.replace(config, ctx=768, parallel=1, cells=768, batch=768)
    backend, batch = opened(large), Batch(768)
    batch.add(0, 0, [100 + i % 50 for i in range(700)], output=True)
    started = threading.Event()

    def abort() -> None:
        started.wait()
        backend.abort()

    for _ in range(20):  # until the abort comes before the end, which it all but always does
        started.clear()
        thread = threading.Thread(target=abort)
        thread.start()
        backend.clear_abort()
        started.set()
        status = backend.decode(batch)
        thread.join()
        assert backend.length(0) <= 700
        backend.remove(0, 0)
        if status is DecodeStatus.ABORTED:
            break
    assert DecodeStatus.ABORTED is status
    assert 0 == backend.length(0)
    backend.clear_abort()
    assert DecodeStatus.OK is backend.decode(batch)
    assert 700 == backend.length(0)


def test_an_abort_that_is_not_cleared_stops_every_decode(
    opened: Open, config: LlamaConfig, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine clears the flag before each decode. It is no error in the log either: clients cause it by leaving."""
    backend, batch = opened(config), Batch(128)
    batch.add(0, 0, [1, 2, 3], output=True)
    backend.abort()
    caplog.clear()
    assert DecodeStatus.ABORTED is backend.decode(batch)
    assert [] == [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    backend.remove(0, 0)
    backend.clear_abort()
    assert DecodeStatus.OK is backend.decode(batch)


@pytest.mark.parametrize("ctx", [16, 100, 257])
def test_a_context_of_any_size_can_be_filled_to_its_end(opened: Open, config: LlamaConfig, ctx: int) -> None:
    """Several sequences fill it at once; llama.cpp itself rounds to multiples of 256."""
    odd = msgspec.structs.replace(config, ctx=ctx, parallel=3, cells=4 * ctx)
    texts = Texts(opened(odd), odd)
    prompts = [f"{i} light" for i in range(3)]
    texts.of(*prompts, params=SamplingParams(temperature=0.0, ignore_eos=True))
    finishes = texts.finishes.values()
    assert [("length", ctx)] * 3 == [(f.reason, f.prompt_tokens + f.completion_tokens) for f in finishes]


def logits(backend: LlamaBackend, sequence: int, tokens: list[int]) -> list[float]:
    batch = Batch(128)
    at = batch.add(sequence, backend.length(sequence), tokens, output=True)
    assert DecodeStatus.OK is backend.decode(batch)
    row: list[float] = backend.logits(at).tolist()
    return row


def test_a_copied_prefix_gives_the_logits_of_a_computed_one(opened: Open, config: LlamaConfig) -> None:
    """The copy is cut back to the common prefix."""
    backend = opened(config)
    tokens = list(range(100, 160))
    logits(backend, 0, tokens)
    backend.copy(0, 1, -1 if config.layout == "streams" else 40)
    assert backend.remove(1, 40)
    assert (60, 40) == (backend.length(0), backend.length(1))
    copied = logits(backend, 1, [7, 8])
    # Computed in the same cells: in others, keys are added up in another order, and roundings differ.
    backend.remove(0, 0)
    backend.remove(1, 0)
    logits(backend, 2, tokens[:40])
    logits(backend, 3, tokens[40:])
    assert copied == pytest.approx(logits(backend, 2, [7, 8]), abs=1e-3)


def test_a_copy_goes_on_when_its_source_is_gone(opened: Open, config: LlamaConfig) -> None:
    """In a pool, both sequences hold the same cells."""
    backend = opened(config)
    tokens = list(range(100, 140))
    logits(backend, 0, tokens)
    backend.copy(0, 1)
    expected = logits(backend, 0, [7])
    backend.remove(0, 0)
    assert (0, 40) == (backend.length(0), backend.length(1))
    assert expected == pytest.approx(logits(backend, 1, [7]), abs=1e-3)


def test_a_full_cache_is_told_and_changes_nothing(opened: Open, config: LlamaConfig) -> None:
    """The decode returns NO_SPACE instead of crashing."""
    backend = opened(msgspec.structs.replace(config, parallel=1, ctx=256, cells=256))
    for start in (0, 128):
        batch = Batch(128)
        batch.add(0, start, [5] * 128, output=True)
        assert DecodeStatus.OK is backend.decode(batch)
    batch.clear()
    batch.add(0, 256, [5], output=True)
    assert DecodeStatus.NO_SPACE is backend.decode(batch)
    assert 256 == backend.length(0)


def test_logits_are_writable_and_of_the_token_asked_for(opened: Open, config: LlamaConfig) -> None:
    """Penalties are applied in place."""
    backend, batch = opened(config), Batch(128)
    ats = [batch.add(i, 0, [10 + i, 20, 30 + i], output=True) for i in range(3)]
    assert DecodeStatus.OK is backend.decode(batch)
    rows = [backend.logits(at) for at in ats]
    assert [(backend.vocab.size,)] * 3 == [row.shape for row in rows]
    assert 3 == len({int(1e6 * row[5]) for row in rows})
    rows[1][:] = 0.0
    assert [False, True, False] == [not backend.logits(at).any() for at in ats]
    with pytest.raises(IndexError):
        backend.logits(0)


def test_a_token_without_an_output_costs_no_logits(opened: Open, config: LlamaConfig) -> None:
    """A batch without outputs has no logits."""
    backend, batch = opened(config), Batch(128)
    at = batch.add(0, 0, [1, 2, 3], output=False)
    assert DecodeStatus.OK is backend.decode(batch)
    with pytest.raises(IndexError):
        backend.logits(at)


def test_the_model_says_what_it_is(model: LlamaModel, base: LlamaConfig, model_file: Path) -> None:
    """ModelInfo comes from the file's metadata."""
    info = model.info(base)
    assert ("test", 256, 8, True) == (info.name, info.ctx, info.parallel, info.generates)
    assert str(model_file.resolve()) == info.path
    assert info.architecture
    assert info.n_ctx_train >= 256
    assert info.n_params > 100_000
    assert (model.vocab.size, model.n_embd) == (info.vocab_size, info.n_embd)
    assert model.vocab.control_tokens() == info.control_tokens


def test_metadata_that_is_not_there_is_none(model: LlamaModel) -> None:
    """A missing key is None; a present one is text."""
    assert model.meta("general.no_such_key") is None
    assert model.meta("general.architecture") == model.info(LlamaConfig("m", "m")).architecture


@pytest.mark.parametrize("damage", ["missing", "empty", "no gguf", "truncated", "half the header"])
def test_a_broken_file_is_refused_with_llama_cpps_reason(
    damage: str, base: LlamaConfig, model_file: Path, tmp_path: Path, llama_log: LogCapture
) -> None:
    """Only the log gives the reason, so its last errors are kept."""
    path, whole = tmp_path / "broken.gguf", model_file.read_bytes()
    contents = {
        "empty": b"",
        "no gguf": b"<html>404 Not Found</html>" * 100,
        "truncated": whole[: len(whole) - 100_000],
        "half the header": whole[:3000],
    }
    if damage in contents:
        path.write_bytes(contents[damage])
    llama_log.errors.clear()
    with pytest.raises(ModelLoadFailed) as error:
        LlamaModel(msgspec.structs.replace(base, model=str(path)), llama_log)
    assert str(path) in error.value.message
    assert llama_log.errors
    assert llama_log.errors[0] in error.value.message


def test_after_a_broken_file_a_whole_one_loads(
    base: LlamaConfig, llama_log: LogCapture, tmp_path: Path
) -> None:
    """A failed load leaves nothing behind."""
    with pytest.raises(ModelLoadFailed):
        LlamaModel(msgspec.structs.replace(base, model=str(tmp_path / "none.gguf")), llama_log)
    LlamaModel(base, llama_log).close()


def test_a_context_that_cannot_be_had_is_refused(opened: Open, base: LlamaConfig) -> None:
    """The process survives, and the error has a hint."""
    with pytest.raises(ModelLoadFailed) as error:
        opened(msgspec.structs.replace(base, kv_type="q8_0", flash_attention=False))
    assert error.value.hint
