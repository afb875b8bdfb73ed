"""OpenAI's API: chat completions, completions, embeddings, models."""

from __future__ import annotations

from edgeinfer.server.http.family import Family, Route
from edgeinfer.server.openai import chat, completions, embeddings, model_card, models, types
from edgeinfer.server.openai.errors import ErrorEnvelope, render_error, stream_error
from edgeinfer.server.openai.schemas.chat import ChatRequest
from edgeinfer.server.openai.schemas.completions import CompletionRequest
from edgeinfer.server.openai.schemas.embeddings import EmbeddingsRequest


def family() -> Family:
    return Family(
        name="openai",
        routes=(
            Route(
                "/v1/chat/completions",
                chat.chat,
                body=ChatRequest,
                answers=(types.Completion[types.ChatChoice],),
                example={"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16},
                streams=True,
            ),
            Route(
                "/v1/completions",
                completions.completions,
                body=CompletionRequest,
                answers=(types.Completion[types.TextChoice],),
                example={"prompt": "Once upon a time", "max_tokens": 16},
                streams=True,
            ),
            Route(
                "/v1/embeddings",
                embeddings.embeddings,
                body=EmbeddingsRequest,
                answers=(types.EmbeddingList,),
                example={"input": ["one text", "another"]},
            ),
            Route("/v1/models", models.models, methods=("GET",), answers=(model_card.ModelList,)),
            Route("/v1/models/{id:path}", models.model, methods=("GET",), answers=(model_card.ModelCard,)),
        ),
        render_error=render_error,
        error_type=ErrorEnvelope,
        stream_error=stream_error,
        time_header="openai-processing-ms",
        prefixes=("/v1/",),
    )
