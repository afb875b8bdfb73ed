"""Loads the model that a worker runs: a GGUF file, or the fake one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.engine.backend import Backend, Batch, DecodeStatus, Row, Vocab
from edgeinfer.engine.fake import CONTROL, FakeBackend
from edgeinfer.errors import DecodeFailed, InvalidRequest, ModelLoadFailed
from edgeinfer.inference.fake_model import FAKE_MODEL, fake_token_ms, is_fake_model
from edgeinfer.inference.types import EngineBuild, ModelInfo, Prompt, Span

log = logging.getLogger("edgeinfer.worker")

PROBE = Span("Ab1 ,\n  éß字한ก\u0301\U0001f600\0", trusted=False)
"""A text that has something of every kind."""

PROBE_TOKENS = 2
"""Tokens of it that a model which generates must embed: others would only be more of the same."""

SELF_TEST_ROWS = 16
"""Enough for the kernels of prompts, and for their time per token; each row delays the start."""

GPU_SELF_TEST_ROWS = 32
"""So many rows at once make llama.cpp compute layers on the GPU whose weights are not there."""

if TYPE_CHECKING:
    from edgeinfer.backends.llama_cpp.binding.embedder import Embedder
    from edgeinfer.backends.llama_cpp.binding.pair_tokenizer import PairTokenizer
    from edgeinfer.backends.llama_cpp.worker.early_model import EarlyModel


Progress = Callable[[float], None]


class Runtime(Protocol):
    """A loaded model.

    Attributes:
        backend: computes logits; None for a model that generates no text.
        draft: computes those of a smaller model, which guesses tokens; None if there is none.
        pairs: tokenizes what a reranker scores, which embeds a pair as its score; None for other models.
        step_ms: estimated time of the longest step, from the self-test.
        build: the library that computes; None for the fake model.
    """

    config: LlamaConfig
    info: ModelInfo
    backend: Backend | None
    draft: Backend | None
    pairs: PairTokenizer | None
    step_ms: float
    build: EngineBuild | None

    @property
    def vocab(self) -> Vocab: ...

    def embed_tokens(self, prompt: Prompt) -> list[int]:
        """Tokens of an input to embed, with the special tokens that the model expects around a text."""
        ...

    def embed(self, inputs: list[list[int]], between: Callable[[], None] = ...) -> list[Row]:
        """One vector an input. `between` is called now and then, since many inputs take long."""
        ...

    def check_embedding(self, inputs: list[list[int]]) -> None:
        """Raises ContextLengthExceeded: an input is too long."""
        ...

    def forget_inputs(self) -> None:
        """Reuse nothing of the inputs so far for those to come: how long they take would tell of them."""
        ...

    def embed_steps(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:
        """Compute the vector of one input, about `chunk` tokens until each yield.

        Between two yields the engine may compute, but no other input may be begun before the end of this one.
        """
        ...

    def close(self) -> None: ...


def open_runtime(
    config: LlamaConfig,
    markers: Sequence[str] = (),
    progress: Progress = lambda _: None,
    early: EarlyModel | None = None,
) -> Runtime:
    """Load the model that `config` names. `markers` are control tokens to be shown as text.

    `progress` is called now and then with the share of the model that has been read. `early` is that model if it has
    been read already.

    Raises:
        ModelLoadFailed: it cannot be loaded, or fails its self-test.
    """
    return (
        FakeRuntime(config) if is_fake_model(config.model) else LlamaRuntime(config, markers, progress, early)
    )


class LlamaRuntime:
    """Runs a GGUF file with llama.cpp. The embedding context is created at its first use, since it costs memory."""

    def __init__(
        self,
        config: LlamaConfig,
        markers: Sequence[str] = (),
        progress: Progress = lambda _: None,
        early: EarlyModel | None = None,
    ) -> None:
        from edgeinfer.backends.llama_cpp.binding.build import engine_build
        from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
        from edgeinfer.backends.llama_cpp.binding.logs import LogCapture
        from edgeinfer.backends.llama_cpp.binding.model import LlamaModel

        self.config = config
        if early and early.model:
            self._log, self._model = early.log, early.model
        else:
            self._log = LogCapture(logging.getLogger("llama.cpp"))
            self._model = LlamaModel(config, self._log, progress)
        self.vocab = self._model.vocab
        self.vocab.show(markers)
        self.info = self._model.info(config)
        self.build: EngineBuild | None = engine_build()
        self.backend: Backend | None = None
        self.draft: Backend | None = None
        self.pairs = self._open_pairs() if self.info.reranks else None
        self._closing: list[Callable[[], None]] = [self._model.close]
        self._embedder: Embedder | None = None
        if self.info.generates:
            self.draft = self._open_draft() if config.draft_model else None
            self.backend = backend = LlamaBackend(self._model, config)
            self._closing.append(backend.close)
            self.step_ms = self_test(backend, config) * config.batch
            self._test_embedding_briefly()
        else:
            self.step_ms = self._test_embedding() * config.ctx

    def _open_draft(self) -> Backend | None:
        """Load the draft model. Raises ModelLoadFailed if it is none for this model."""
        from edgeinfer.backends.llama_cpp.binding.context import LlamaBackend
        from edgeinfer.backends.llama_cpp.binding.draft_vocabulary import check_draft_vocabulary
        from edgeinfer.backends.llama_cpp.binding.model import LlamaModel

        config = self.config.for_draft_model()
        model = LlamaModel(config, self._log)
        self._closing.append(model.close)
        check_draft_vocabulary(self._model, model, self.config)
        if not self._model.removes_tails:
            log.warning("%s cannot take guesses back: there are no drafts", self.config.name)
            return None
        backend = LlamaBackend(model, config)
        self._closing.append(backend.close)
        self_test(backend, config)
        return backend

    def embed_tokens(self, prompt: Prompt) -> list[int]:
        tokens: list[int] = []
        for part in prompt:
            if isinstance(part, int):
                tokens.append(part)
            else:
                tokens += self.vocab.tokenize(part.text, special=part.trusted, add_special=True)
        return tokens

    def embed(self, inputs: list[list[int]], between: Callable[[], None] = lambda: None) -> list[Row]:
        return self._opened_embedder().embed(inputs, between)

    def check_embedding(self, inputs: list[list[int]]) -> None:
        self._opened_embedder().check(inputs)

    def forget_inputs(self) -> None:
        self._opened_embedder().forget()

    def embed_steps(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:
        return self._opened_embedder().steps(tokens, chunk)

    def _opened_embedder(self) -> Embedder:
        from edgeinfer.backends.llama_cpp.binding.embedder import open_embedder
        from edgeinfer.backends.llama_cpp.binding.reranker import open_reranker

        if self._embedder is None:
            opened = open_reranker if self.info.reranks else open_embedder
            self._embedder = opened(self._model, self.config)
            self._closing.append(self._embedder.close)
        return self._embedder

    def _open_pairs(self) -> PairTokenizer:
        from edgeinfer.backends.llama_cpp.binding.pair_tokenizer import open_pair_tokenizer

        return open_pair_tokenizer(self._model, min(self.config.ctx, self.info.n_ctx_train))

    def _test_embedding(self) -> float:
        """Embed one input, or score one pair; -> milliseconds a token. Raises ModelLoadFailed."""
        n = min(self.config.ubatch, self.config.ctx - 1, self.info.n_ctx_train)
        try:
            self.embed([(self.pairs.probe() if self.pairs else self._probe())[:n]])
            started = time.monotonic()
            self.embed([[self.vocab.bos or 0] * n])
        except DecodeFailed as e:
            raise _failed(self.config, e.message) from e
        return (time.monotonic() - started) * 1e3 / n

    def _probe(self) -> list[int]:
        try:
            return self.embed_tokens([PROBE])
        except InvalidRequest:  # some vocabularies lack tokens for a part of it
            return self.embed_tokens([Span("Ab1", trusted=False)])

    def _test_embedding_briefly(self) -> None:
        """Embed a few words with a model that also generates, in a context that is small and then gone.

        What crashes llama.cpp must do so now. What merely fails concerns embeddings alone, whose requests will say so.
        """
        from edgeinfer.backends.llama_cpp.binding.embedder import open_embedder

        try:
            embedder = open_embedder(self._model, msgspec.structs.replace(self.config, ctx=PROBE_TOKENS))
        except ModelLoadFailed as e:
            log.warning("%s", e.message)
            return
        try:
            embedder.embed([self._probe()[:PROBE_TOKENS]])
        except (DecodeFailed, ModelLoadFailed) as e:
            log.warning("%s cannot embed: %s", self.config.name, e.message)
        finally:
            embedder.close()

    def close(self) -> None:
        while self._closing:  # contexts before the model they were made from
            self._closing.pop()()


class FakeRuntime:
    """Runs the fake backend: it needs no download and no build, and its answers reveal our mistakes."""

    def __init__(self, config: LlamaConfig) -> None:
        self.config = config
        self._ms_per_token = fake_token_ms(config.model)
        backend = FakeBackend(config, ms_per_token=self._ms_per_token)
        self.backend: Backend | None = backend
        self.draft: Backend | None = None
        if config.draft_model:
            self.draft = FakeBackend(config, ms_per_token=fake_token_ms(config.draft_model))
        self.pairs: PairTokenizer | None = None
        self.vocab = backend.vocab
        self._embed = backend.embed
        self.step_ms = 0.0
        self.build: EngineBuild | None = None
        self.info = ModelInfo(
            name=config.name,
            path=config.model,
            architecture=FAKE_MODEL,
            description="a hash of the prompt, in letters",
            n_params=0,
            size=0,
            vocab_size=self.vocab.size,
            n_embd=self.vocab.size,
            n_ctx_train=config.ctx,
            ctx=config.ctx,
            parallel=config.parallel,
            generates=True,
            add_bos=True,
            bos=CONTROL[256],
            eos=CONTROL[257],
            control_tokens=tuple(CONTROL.values()),
            chat_templates={},
            sampling={},
            draft_model=config.draft_model or "",
        )

    def embed_tokens(self, prompt: Prompt) -> list[int]:
        tokens: list[int] = []
        for part in prompt:
            tokens += (
                self.vocab.tokenize(part.text, special=part.trusted) if isinstance(part, Span) else [part]
            )
        return tokens

    def embed(self, inputs: list[list[int]], between: Callable[[], None] = lambda: None) -> list[Row]:
        between()
        return self._embed(inputs)

    def check_embedding(self, inputs: list[list[int]]) -> None:
        pass

    def forget_inputs(self) -> None:
        pass

    def embed_steps(self, tokens: list[int], chunk: Callable[[], int]) -> Generator[None, None, Row]:
        left = len(tokens)
        while left > 0:
            size = min(chunk(), left)
            time.sleep(size * self._ms_per_token / 1e3)
            left -= size
            yield
        return self._embed([tokens])[0]

    def close(self) -> None:
        pass


def _failed(config: LlamaConfig, why: str) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"{config.name} fails its self-test: {why}",
        hint="the file may be damaged: edgeinfer models verify checks it",
    )


def self_test(backend: Backend, config: LlamaConfig) -> float:
    """Decode one token, then several at once, which also warms up the code; -> milliseconds a token of the latter.

    Raises:
        ModelLoadFailed: the logits are not finite.
    """
    token = backend.vocab.bos or 0
    batch = Batch(config.batch)
    ms = 0.0
    rows = GPU_SELF_TEST_ROWS if config.gpu_layers else SELF_TEST_ROWS
    for n in (1, min(rows, config.ubatch, config.batch, config.ctx - 1)):
        started = time.monotonic()
        batch.clear()
        at = batch.add(0, 0, [token] * n, output=True)
        status = backend.decode(batch)
        if status is not DecodeStatus.OK:
            raise _failed(config, f"decoding ended with {status.value!r}")
        if not np.isfinite(backend.logits(at).max()):
            raise _failed(config, "its logits are no numbers")
        backend.remove(0, 0)
        ms = (time.monotonic() - started) * 1e3 / n
    return ms
