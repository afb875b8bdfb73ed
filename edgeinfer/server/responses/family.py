"""OpenAI's Responses API."""

from __future__ import annotations

from edgeinfer.server.http.family import Family, Route
from edgeinfer.server.openai.errors import ErrorEnvelope, render_error, stream_error
from edgeinfer.server.responses import create, retrieve, types
from edgeinfer.server.responses.schemas.request import ResponsesRequest

ONE = "/v1/responses/{response_id}"


def family() -> Family:
    return Family(
        name="responses",
        routes=(
            Route(
                "/v1/responses",
                create.create,
                body=ResponsesRequest,
                answers=(types.ResponseObject,),
                example={"input": "Hello", "max_output_tokens": 16},
                streams=True,
            ),
            Route(
                "/v1/responses/input_tokens",
                create.count_input,
                body=ResponsesRequest,
                answers=(types.InputTokens,),
                example={"input": "Hello"},
            ),
            Route(ONE, retrieve.retrieve, methods=("GET",), answers=(types.ResponseObject,)),
            Route(ONE, retrieve.delete, methods=("DELETE",), answers=(types.DeletedResponse,)),
            Route(f"{ONE}/cancel", retrieve.cancel, answers=(types.ResponseObject,)),
            Route(f"{ONE}/input_items", retrieve.input_items, methods=("GET",), answers=(types.ItemList,)),
        ),
        render_error=render_error,
        error_type=ErrorEnvelope,
        stream_error=stream_error,
        prefixes=("/v1/responses/",),
    )
