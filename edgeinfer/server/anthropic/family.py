"""Anthropic's API: messages, counting their tokens, and its form of the list of models."""

from __future__ import annotations

from edgeinfer.server.anthropic import messages, models, types
from edgeinfer.server.anthropic.errors import ErrorResponse, render_error, stream_error
from edgeinfer.server.anthropic.schemas.messages import CountTokensRequest, MessagesRequest
from edgeinfer.server.http.family import Family, ModelsForm, Route

HELLO = [{"role": "user", "content": "Hello"}]


def family() -> Family:
    return Family(
        name="anthropic",
        routes=(
            Route(
                "/v1/messages",
                messages.messages,
                body=MessagesRequest,
                answers=(types.MessageResponse,),
                example={"model": "default", "max_tokens": 16, "messages": HELLO},
                streams=True,
            ),
            Route(
                "/v1/messages/count_tokens",
                messages.count_tokens,
                body=CountTokensRequest,
                answers=(types.TokenCount,),
                example={"model": "default", "messages": HELLO},
            ),
        ),
        render_error=render_error,
        error_type=ErrorResponse,
        stream_error=stream_error,
        keep_alive=b'event: ping\ndata: {"type":"ping"}\n\n',
        prefixes=("/v1/messages/", "/v1/complete/"),
        request_id_header="request-id",
        models_form=ModelsForm(b"anthropic-version", models.list_models, models.show_model),
    )
