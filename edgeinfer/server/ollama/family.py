"""Ollama's API: https://docs.ollama.com/api."""

from __future__ import annotations

from edgeinfer.server.http.family import Family, Route
from edgeinfer.server.ollama import chat, embed, generate, pull, show, tags, types, unsupported
from edgeinfer.server.ollama.errors import OllamaError, render_error, stream_error
from edgeinfer.server.ollama.schemas.chat import OllamaChatRequest
from edgeinfer.server.ollama.schemas.generate import OllamaGenerateRequest
from edgeinfer.server.ollama.schemas.models import (
    DeleteRequest,
    EmbeddingRequest,
    EmbedRequest,
    PullRequest,
    ShowRequest,
)

GET, DELETE = ("GET",), ("DELETE",)
EXAMPLE_MODEL = "default"


def family() -> Family:
    return Family(
        name="ollama",
        routes=(*_answers(), *_models(), *_unsupported()),
        render_error=render_error,
        error_type=OllamaError,
        stream_error=stream_error,
        stream_type="application/x-ndjson",
        keep_alive=b"",
        any_content_type=True,
        prefixes=("/api/",),
    )


def _answers() -> tuple[Route, ...]:
    return (
        Route(
            "/api/chat",
            chat.chat,
            body=OllamaChatRequest,
            answers=(types.OllamaChatResponse,),
            example={
                "model": EXAMPLE_MODEL,
                "messages": [{"role": "user", "content": "Hello"}],
                "stream": False,
            },
            streams=True,
        ),
        Route(
            "/api/generate",
            generate.generate,
            body=OllamaGenerateRequest,
            answers=(types.OllamaGenerateResponse,),
            example={"model": EXAMPLE_MODEL, "prompt": "Hello", "stream": False},
            streams=True,
        ),
        Route(
            "/api/embed",
            embed.embed,
            body=EmbedRequest,
            answers=(types.OllamaEmbedResponse,),
            example={"model": EXAMPLE_MODEL, "input": ["one text", "another"]},
        ),
        Route(
            "/api/embeddings",
            embed.embeddings,
            body=EmbeddingRequest,
            answers=(types.OllamaEmbeddingResponse,),
            example={"model": EXAMPLE_MODEL, "prompt": "one text"},
        ),
    )


def _models() -> tuple[Route, ...]:
    return (
        Route("/api/version", tags.version, GET, answers=(types.OllamaVersion,)),
        Route("/api/status", tags.status, GET, answers=(types.OllamaStatus,)),
        Route("/api/tags", tags.tags, GET, answers=(types.OllamaTags,)),
        Route("/api/ps", tags.ps, GET, answers=(types.RunningModels,)),
        Route(
            "/api/show",
            show.show,
            body=ShowRequest,
            answers=(types.ShownModel,),
            example={"model": EXAMPLE_MODEL},
        ),
        Route(
            "/api/pull",
            pull.pull,
            body=PullRequest,
            answers=(types.PullStep,),
            example={"model": EXAMPLE_MODEL, "stream": False},
            streams=True,
        ),
        Route(
            "/api/delete",
            pull.delete,
            DELETE,
            body=DeleteRequest,
            answers=({},),
            example={"model": EXAMPLE_MODEL},
        ),
    )


def _unsupported() -> tuple[Route, ...]:
    handlers = {
        "/api/create": unsupported.create,
        "/api/copy": unsupported.copy,
        "/api/push": unsupported.push,
        "/api/me": unsupported.account,
        "/api/signout": unsupported.account,
        "/api/web_search": unsupported.web,
        "/api/web_fetch": unsupported.web,
        "/api/experimental/web_search": unsupported.web,
        "/api/experimental/web_fetch": unsupported.web,
    }
    return (
        *(Route(path, handler, is_documented=False) for path, handler in handlers.items()),
        Route("/api/blobs/{digest}", unsupported.blobs, ("POST", "HEAD"), is_documented=False),
    )
