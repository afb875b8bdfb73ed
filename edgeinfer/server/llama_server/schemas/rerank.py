"""The body of POST /rerank, as clients of Jina, Cohere, llama-server and text-embeddings-inference (TEI) send it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.types import Cut
from edgeinfer.server.http.request_model import Harmless, Items, RequestModel, Strict
from edgeinfer.server.openai.schemas import foreign_fields
from edgeinfer.serving.reranking import RerankCall

MAX_DOCUMENTS = 1024


class DocumentParam(Strict):
    """A document as an object. Only its text counts."""

    text: str


Documents = Annotated[Items[str | DocumentParam], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class RerankRequest(RequestModel):
    """`texts`, `return_text`, `truncate` and `raw_scores` are TEI's; the answer then has TEI's form, too."""

    query: str = Field(min_length=1)
    documents: Documents | None = None
    texts: Annotated[Items[str], Field(min_length=1, max_length=MAX_DOCUMENTS)] | None = None
    model: str | None = None
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False
    return_text: bool = False
    max_tokens_per_doc: int | None = Field(None, ge=1)
    truncate: bool = False
    raw_scores: bool = True

    accepted: ClassVar[frozenset[str]] = foreign_fields.ACCEPTED
    unsupported: ClassVar[Mapping[str, Harmless]] = {
        "max_chunks_per_doc": (),
        "rank_fields": (["text"],),
        "truncate_prompt_tokens": (),
        "truncation_direction": ("right", "Right"),
    }
    synonyms: ClassVar[Mapping[str, str]] = {"top_k": "top_n"}
    hints: ClassVar[Mapping[str, str]] = {
        "max_chunks_per_doc": "use max_tokens_per_doc",
        "rank_fields": "write into `text` what counts",
        "truncate_prompt_tokens": "use max_tokens_per_doc, or truncate",
        "truncation_direction": "the beginning of a document is kept",
    }

    def contents(self) -> list[str]:
        """The documents' texts. Raises InvalidRequest if there are none, or two lists of them."""
        if (self.documents is None) == (self.texts is None):
            problem = "documents is missing" if self.texts is None else "documents and texts are the same"
            raise InvalidRequest(f"{problem}: send one list", param="documents")
        documents = self.texts if self.documents is None else self.documents
        return [document if isinstance(document, str) else document.text for document in documents or ()]

    def call(self) -> RerankCall:
        """Raises InvalidRequest as `contents` does."""
        return RerankCall(
            query=self.query,
            documents=self.contents(),
            cut=Cut(self.max_tokens_per_doc, self.truncate),
            top_n=self.top_n,
            shares=not self.raw_scores,
        )
