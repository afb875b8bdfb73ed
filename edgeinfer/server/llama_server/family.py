"""llama-server's API: infill, tokenize, detokenize, apply-template, loading of models."""

from __future__ import annotations

from typing import Any

from edgeinfer.errors import NotImplementedHere
from edgeinfer.server.admin import health
from edgeinfer.server.http.family import Family, Route
from edgeinfer.server.llama_server import (
    completion,
    infill,
    lora,
    model_events,
    models,
    props,
    rerank,
    slots,
    tokens,
    types,
)
from edgeinfer.server.llama_server.completion_response import LlamaCompletion
from edgeinfer.server.llama_server.errors import LlamaErrorEnvelope, render_error, stream_error
from edgeinfer.server.llama_server.infill_response import InfillResponse
from edgeinfer.server.llama_server.schemas.completion import LlamaCompletionRequest
from edgeinfer.server.llama_server.schemas.infill import InfillRequest
from edgeinfer.server.llama_server.schemas.models import ModelRequest
from edgeinfer.server.llama_server.schemas.rerank import RerankRequest
from edgeinfer.server.llama_server.schemas.tokens import DetokenizeRequest, TokenizeRequest
from edgeinfer.server.openai.model_card import ModelList
from edgeinfer.server.openai.schemas.chat import ApplyTemplateRequest, ChatRequest

RERANK_PATHS = ("/rerank", "/reranking", "/v1/rerank", "/v1/reranking", "/v2/rerank")

REFUSED = {NotImplementedHere.status: LlamaErrorEnvelope}

SOME_FIELDS = {"type": "object", "description": "The fields that response_fields names."}


def family() -> Family:
    return Family(
        name="llama_server",
        routes=(
            *(
                Route(
                    path,
                    completion.completion,
                    body=LlamaCompletionRequest,
                    answers=(LlamaCompletion, list[LlamaCompletion], SOME_FIELDS, list[dict[str, Any]]),
                    example={"prompt": "Once upon a time", "n_predict": 16},
                    streams=True,
                )
                for path in ("/completion", "/completions")
            ),
            Route(
                "/infill",
                infill.infill,
                body=InfillRequest,
                answers=(InfillResponse, SOME_FIELDS),
                example={
                    "input_prefix": "def add(a, b):\n    return ",
                    "input_suffix": "\n",
                    "n_predict": 16,
                },
                streams=True,
            ),
            *(
                Route(
                    path,
                    rerank.rerank,
                    body=RerankRequest,
                    answers=(rerank.RerankResponse, list[rerank.RankedText]),
                    example={"query": "What is a panda?", "documents": ["A bear.", "A city."], "top_n": 1},
                )
                for path in RERANK_PATHS
            ),
            Route(
                "/tokenize",
                tokens.tokenize,
                body=TokenizeRequest,
                answers=(types.TokenizeResponse,),
                example={"content": "Hello", "with_pieces": True},
            ),
            Route(
                "/detokenize",
                tokens.detokenize,
                body=DetokenizeRequest,
                answers=(types.DetokenizeResponse,),
                example={"tokens": [1, 2, 3]},
            ),
            Route(
                "/apply-template",
                tokens.apply_template,
                body=ApplyTemplateRequest,
                answers=(types.ApplyTemplateResponse,),
                example={"messages": [{"role": "user", "content": "Hello"}]},
            ),
            Route(
                "/v1/chat/completions/input_tokens",
                tokens.count_tokens,
                body=ChatRequest,
                answers=(types.ChatInputTokens,),
                example={"messages": [{"role": "user", "content": "Hello"}]},
            ),
            Route(
                "/chat/completions/input_tokens",
                tokens.count_tokens,
                body=ChatRequest,
                answers=(types.ChatInputTokens,),
                example={"messages": [{"role": "user", "content": "Hello"}]},
            ),
            Route("/props", props.props, methods=("GET",), answers=(props.Props,)),
            Route("/props", props.change_props, errors=REFUSED),
            Route("/slots", slots.slots, methods=("GET",), answers=(list[slots.SlotState],)),
            Route("/slots/{id}", slots.slot_action, errors=REFUSED),
            Route("/lora-adapters", lora.lora_adapters, methods=("GET",), answers=(list[lora.LoraAdapter],)),
            Route("/lora-adapters", lora.set_lora_adapters, errors=REFUSED),
            Route(
                "/v1/health",
                health.health,
                methods=("GET",),
                answers=(health.Health,),
                is_open=True,
                is_quiet=True,
            ),
            Route("/models", models.list_models, methods=("GET",), answers=(ModelList,)),
            Route(
                "/models",
                models.download,
                body=ModelRequest,
                answers=(models.Success,),
            ),
            Route("/models", models.delete, methods=("DELETE",), answers=(models.Success,)),
            # OpenAPI cannot tell of a response without an end, and tools that read it wait for one.
            Route("/models/sse", model_events.model_events, methods=("GET",), is_documented=False),
            Route(
                "/models/load",
                models.load,
                body=ModelRequest,
                answers=(models.Success,),
                example={"model": "default"},
            ),
            Route(
                "/models/unload",
                models.unload,
                body=ModelRequest,
                answers=(models.Success,),
                example={"model": "default"},
            ),
        ),
        render_error=render_error,
        error_type=LlamaErrorEnvelope,
        stream_error=stream_error,
        prefixes=("/models/", "/slots/"),
    )
