"""Turns the prompts of messages into the model's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeinfer.backends.llama_cpp.messages import Detokenize, Embed, Generate, Rerank, Tokenize, ToWorker
from edgeinfer.backends.llama_cpp.worker.runtime import Runtime
from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Prompt, Span


class PromptTokenizer:
    """Tokenizes for one runtime. Thread-safe."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def tokens(self, prompt: Prompt, *, add_bos: bool) -> list[int]:
        """Tokens to generate from. A prompt that begins with a token gets no BOS. Raises InvalidRequest."""
        vocab = self._runtime.vocab
        self._check_texts([prompt])
        tokens: list[int] = []
        for part in prompt:
            tokens += [part] if isinstance(part, int) else vocab.tokenize(part.text, special=part.trusted)
        if prompt and isinstance(prompt[0], int):
            return tokens
        if add_bos and vocab.add_bos and vocab.bos is not None and tokens[:1] != [vocab.bos]:
            tokens.insert(0, vocab.bos)
        return tokens

    def embed_tokens(self, inputs: Sequence[Prompt]) -> list[list[int]]:
        """Tokens to embed. Raises InvalidRequest."""
        self._check_texts(inputs)
        return [self._embed_tokens(prompt) for prompt in inputs]

    def _embed_tokens(self, prompt: Prompt) -> list[int]:
        tokens = self._runtime.embed_tokens(prompt)
        self.check(tokens)
        if not tokens:
            raise InvalidRequest("an input is empty", param="input")
        return tokens

    def _check_texts(self, prompts: Iterable[Prompt]) -> None:
        """Check texts together, since each alone may be small enough."""
        texts = [part.text for prompt in prompts for part in prompt if isinstance(part, Span)]
        if len(texts) > 1:
            self._runtime.vocab.check(texts)

    def check(self, tokens: list[int]) -> None:
        """Raises InvalidRequest for a token that the vocabulary lacks."""
        size = self._runtime.vocab.size
        unknown = next((t for t in tokens if not 0 <= t < size), None)
        if unknown is not None:
            raise InvalidRequest(f"token {unknown} is not in the vocabulary of {size}", param="tokens")


def text_size(message: ToWorker) -> int:
    """Characters to tokenize for a message; a token to detokenize counts as four."""
    match message:
        case Generate():
            return prompt_size(message.prompt) + len(message.params.prediction)
        case Tokenize():
            return prompt_size(message.prompt)
        case Embed():
            return sum(map(prompt_size, message.inputs))
        case Rerank():
            return sum(len(message.query) + len(document) for document in message.documents)
        case Detokenize():
            return 4 * len(message.tokens)
    return 0


def prompt_size(prompt: Prompt) -> int:
    return sum(len(part.text) for part in prompt if isinstance(part, Span))
