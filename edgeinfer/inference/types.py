"""Types that every engine speaks: prompts, tokens, embeddings, relevance scores and facts about the model."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A piece of prompt text. Only in a `trusted` one are control tokens recognised."""

    text: str
    trusted: bool = True


Prompt = Sequence[Span | int]
"""Text to tokenize, or tokens already."""


class FimTokens(msgspec.Struct, frozen=True):
    """The tokens around the parts of a fill-in-the-middle prompt.

    Attributes:
        prefix, suffix, middle: the tokens before each of these.
        repo, file: the tokens before a project's name, and before one of its files; None if there are none.
    """

    prefix: int
    suffix: int
    middle: int
    repo: int | None = None
    file: int | None = None


class EngineBuild(msgspec.Struct, frozen=True):
    """The program that computes, and what it makes use of on this machine.

    Attributes:
        isa: instruction sets of the CPU.
        apis: interfaces of GPUs, "cuda" or "vulkan".
        kernels: it has matrix-product kernels of ours.
        row_exact: it has those that compute each row alike, however many are computed together.
        variant: which of its libraries for different CPUs it has loaded; None if it has one for all.
    """

    version: str
    isa: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    kernels: bool = False
    variant: str | None = None
    name: str = "llama.cpp"
    row_exact: bool = False

    def __str__(self) -> str:
        variant = f"variant {self.variant}" if self.variant else ""
        sets = " ".join((*self.apis, *self.isa))
        return ", ".join(part for part in (f"{self.name} {self.version}", variant, sets) if part)


class ModelInfo(msgspec.Struct, frozen=True):
    """Facts about a loaded model.

    Attributes:
        name: its name in the API.
        path: its GGUF file.
        architecture: GGUF's `general.architecture`.
        description: llama.cpp's one-line description (type, size, quantization).
        n_params: number of parameters.
        size: bytes of the tensors.
        vocab_size: number of tokens in the vocabulary.
        n_embd: width of an embedding.
        n_ctx_train: context the model was trained for.
        ctx: context of one sequence here.
        parallel: sequences that run at once.
        generates: False for an encoder-only model, which only makes embeddings, and for a reranker.
        add_bos: the model wants a BOS token first.
        bos, eos: the texts of these tokens, "" if there are none.
        control_tokens: texts that become control tokens in trusted spans.
        chat_templates: name -> Jinja source; "default" is the plain one. Untrusted.
        sampling: sampling values recommended by the file (`general.sampling.*`), by SamplingParams' names.
        fim: the tokens of a fill-in-the-middle prompt; None if the model has none.
        revision: identifies the model file, since its name may stay the same; a prompt is made for one revision.
        reranks: it scores documents for a query, and does nothing else.
        score_shares: its scores are from 0 to 1; those of most rerankers are logits.
        draft_model: the GGUF file of the model that guesses its tokens; "" if there is none.
    """

    name: str
    path: str
    architecture: str
    description: str
    n_params: int
    size: int
    vocab_size: int
    n_embd: int
    n_ctx_train: int
    ctx: int
    parallel: int
    generates: bool
    add_bos: bool
    bos: str
    eos: str
    control_tokens: tuple[str, ...]
    chat_templates: dict[str, str]
    sampling: dict[str, float]
    fim: FimTokens | None = None
    revision: str = ""
    reranks: bool = False
    score_shares: bool = False
    draft_model: str = ""


class Tokens(msgspec.Struct, frozen=True, array_like=True):
    """A tokenized text: each token's id, and the bytes it stands for."""

    ids: list[int]
    pieces: list[bytes]


class Embeddings(msgspec.Struct, frozen=True, array_like=True):
    """One little-endian float32 vector for each input, and how many tokens all inputs had together."""

    vectors: list[bytes]
    tokens: int


class Scores(msgspec.Struct, frozen=True, array_like=True):
    """How relevant each document is, and how many tokens all pairs with the query had together."""

    values: list[float]
    tokens: int


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """How documents that are too long are cut.

    Attributes:
        tokens: what is left of a document at the most; None sets no limit.
        to_fit: cut a document that does not fit together with the query, rather than refuse it.
    """

    tokens: int | None = None
    to_fit: bool = False


WHOLE = Cut()
"""Documents are never cut."""
