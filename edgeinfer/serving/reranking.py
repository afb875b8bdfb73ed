"""One reranking request: how relevant each document is for a query."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import msgspec

from edgeinfer.chat.prompt import MAX_TOKEN_CHARS
from edgeinfer.inference.types import WHOLE, Cut, ModelInfo
from edgeinfer.serving.handle import ModelHandle
from edgeinfer.serving.inputs import check_length
from edgeinfer.serving.task import check_task


class RerankCall(msgspec.Struct, frozen=True, kw_only=True):
    """A reranking request.

    Attributes:
        cut: how documents that are too long are cut; by default they are refused.
        top_n: the number of documents wanted; None means all.
        shares: scores from 0 to 1, rather than on the model's own scale.
    """

    query: str
    documents: Sequence[str]
    cut: Cut = WHOLE
    top_n: int | None = None
    shares: bool = False


class RankedDocument(msgspec.Struct, frozen=True):
    """A document's score. `index` is its place in the request."""

    index: int
    score: float


class RerankReply(NamedTuple):
    """The best documents, the most relevant first, and the tokens of all pairs together."""

    info: ModelInfo
    ranked: list[RankedDocument]
    tokens: int


async def rerank(model: ModelHandle, caller: Hashable, call: RerankCall) -> RerankReply:
    """Score the documents.

    Raises:
        InvalidRequest: the model is no reranker.
        ContextLengthExceeded: the query is too long, or a document is that is not to be cut.
        EdgeinferError: the model cannot be loaded, or is too busy.
    """
    info = await model.ready()
    check_task(info, "rerank")
    check_length(call.query, info, "query")
    documents = call.documents
    if call.cut == WHOLE:
        for i, document in enumerate(documents):
            check_length(document, info, f"documents[{i}]")
    else:
        documents = [document[: info.ctx * MAX_TOKEN_CHARS] for document in documents]
    scores = await model.rerank(caller, call.query, documents, call.cut, info=info)
    logits = call.shares and not info.score_shares
    values = [share(value) for value in scores.values] if logits else scores.values
    ranked = sorted(
        (RankedDocument(index, value) for index, value in enumerate(values)), key=lambda one: -one.score
    )
    return RerankReply(info, ranked[: call.top_n], scores.tokens)


def share(score: float) -> float:
    """A logit as a probability."""
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))
