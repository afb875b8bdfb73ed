"""Makes the text that a reranker scores from a query and a document: as the file's template says, or joined by the
tokens that end a text.

Control tokens that are written out in a query or a document are text like any other.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from edgeinfer.backends.llama_cpp.binding.model import LlamaModel
from edgeinfer.backends.llama_cpp.binding.vocab import LlamaVocab
from edgeinfer.errors import ModelLoadFailed, context_exceeded
from edgeinfer.inference.types import WHOLE, Cut

QUERY, DOCUMENT = "{query}", "{document}"


class PairTokenizer(ABC):
    """Tokenizes pairs of a query and a document. Thread-safe."""

    def __init__(self, vocab: LlamaVocab, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._vocab = vocab

    def pairs(
        self, query: str, documents: Sequence[str], cut: Cut = WHOLE, first: int = 0
    ) -> list[list[int]]:
        """The tokens of each document's pair. `first` is the number of the first document in errors.

        Raises:
            ContextLengthExceeded: a pair has more than `max_tokens`, and is not to be cut.
            InvalidRequest: the texts take the tokenizer too long.
        """
        self._vocab.check([query, *documents])
        if (least := len(self._pair(query, ""))) > self.max_tokens:
            raise context_exceeded(
                self.max_tokens, f"the query alone has {least} tokens", tokens=least, param="query"
            )
        return [self._fitted(query, document, cut, first + i) for i, document in enumerate(documents)]

    def probe(self) -> list[int]:
        """The tokens of a short pair."""
        return self._pair("Ab1", "the sky is blue")

    def _fitted(self, query: str, document: str, cut: Cut, number: int) -> list[int]:
        if cut.tokens is not None:
            document = self._shortened(document, cut.tokens)
        tokens = self._pair(query, document)
        left, step = self._length(document) if cut.to_fit else 0, 1
        while left and len(tokens) > self.max_tokens:  # the next to last token may change with the last one
            left, step = max(0, left - step * (len(tokens) - self.max_tokens)), 2 * step
            tokens = self._pair(query, self._shortened(document, left))
        if (size := len(tokens)) > self.max_tokens:
            own = self._length(document)
            problem = f"document {number} has {own} tokens, and {size} with the query"
            raise context_exceeded(self.max_tokens, problem, tokens=size, param=f"documents[{number}]")
        return tokens

    def _length(self, text: str) -> int:
        return len(self._vocab.tokenize(text, special=False))

    def _shortened(self, text: str, n: int) -> str:
        """The beginning of `text`, of about `n` tokens."""
        tokens = self._vocab.tokenize(text, special=False)
        return text if len(tokens) <= n else self._vocab.detokenize(tokens[:n]).decode("utf-8", "ignore")

    @abstractmethod
    def _pair(self, query: str, document: str) -> list[int]: ...


class JoinedPairTokenizer(PairTokenizer):
    """Puts what ends a text, and what separates two, between query and document: for models such as BERT."""

    def __init__(self, vocab: LlamaVocab, max_tokens: int) -> None:
        super().__init__(vocab, max_tokens)
        ends = vocab.ends()
        self._between, self._end = ends.between, ends.end
        self._start = [vocab.bos] if vocab.add_bos and vocab.bos is not None else []
        if not self._between:
            raise ModelLoadFailed(
                "the tokenizer has no token to put between a query and a document", param="model"
            )

    def _pair(self, query: str, document: str) -> list[int]:
        words, others = (self._vocab.tokenize(text, special=False) for text in (query, document))
        return [*self._start, *words, *self._between, *others, *self._end]


class TemplatePairTokenizer(PairTokenizer):
    """Fills a template. Only the template's own control tokens are recognised."""

    def __init__(self, vocab: LlamaVocab, max_tokens: int, template: str) -> None:
        super().__init__(vocab, max_tokens)
        if QUERY not in template or DOCUMENT not in template:
            raise ModelLoadFailed(f"the model's rerank template lacks {QUERY} or {DOCUMENT}", param="model")
        self._template = template
        self._controls = [token for token in vocab.control_tokens() if token]
        inside = sorted((c for c in self._controls if c in template), key=len, reverse=True)
        pattern = f"({'|'.join(map(re.escape, inside))})" if inside else r"(?!)()"
        self._parts = re.split(pattern, template)

    def _pair(self, query: str, document: str) -> list[int]:
        texts = {QUERY: query, DOCUMENT: document}
        if not any(control in text for control in self._controls for text in (query, document)):
            return self._vocab.tokenize(_filled(self._template, texts), special=True)
        tokens: list[int] = []
        for i, part in enumerate(self._parts):  # every second one is a control token
            tokens += self._vocab.tokenize(_filled(part, texts), special=bool(i % 2))
        return tokens


def open_pair_tokenizer(model: LlamaModel, max_tokens: int) -> PairTokenizer:
    """The tokenizer of pairs for a reranker. Raises ModelLoadFailed if the model cannot tell query and document apart."""
    template = model.rerank_template()
    if template is None:
        return JoinedPairTokenizer(model.vocab, max_tokens)
    return TemplatePairTokenizer(model.vocab, max_tokens, template)


def _filled(template: str, texts: dict[str, str]) -> str:
    """The template with the texts in place, in one pass: a text may itself look like a place."""
    return re.sub(r"\{query\}|\{document\}", lambda place: texts[place[0]], template)
