"""Sends a span for each request to an OpenTelemetry collector, by OTLP over HTTP.

A span has neither prompts nor answers nor keys. It continues the trace that a client names in `traceparent`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.types import Scope

from edgeinfer import __version__
from edgeinfer.errors import SettingsError
from edgeinfer.request_figures import RequestFigures
from edgeinfer.server.http.route_pattern import route_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

EXPORT_TIMEOUT = 3
"""Seconds that a collector may take; what it has not got by then is lost, and the log says so."""

SERVER_ERROR = 500

logger = logging.getLogger(__name__)


class Tracing:
    """Makes spans, which a thread sends a few seconds later."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: the collector's address, to which /v1/traces is added.

        Raises:
            SettingsError: it is no address, or the extra `otel` is not installed.
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"otlp_endpoint: {endpoint!r} is not an address",
                param="otlp_endpoint",
                hint="give a collector's address, such as http://127.0.0.1:4318",
            )
        self._provider = _provider(f"{endpoint.rstrip('/')}/v1/traces")
        self._tracer = self._provider.get_tracer("edgeinfer", __version__)

    def span(self, scope: Scope, status: int, began: float, id: str, figures: RequestFigures) -> None:
        """Make the span of a request that has ended now and began at `began`, by time.perf_counter()."""
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        route, end, now = route_of(scope), time.time_ns(), time.perf_counter()
        span = self._tracer.start_span(
            f"{scope['method']} {route}",
            context=TraceContextTextMapPropagator().extract(_trace_headers(scope)),
            kind=SpanKind.SERVER,
            start_time=end - round((now - began) * 1e9),
            attributes={
                "http.request.method": scope["method"],
                "http.route": route,
                "http.response.status_code": status,
                "edgeinfer.request_id": id,
                **_model_attributes(began, figures),
            },
        )
        if status >= SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        """Send what is left; this blocks for a few seconds at most."""
        self._provider.shutdown()


def _provider(url: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as e:
        raise SettingsError(
            f"otlp_endpoint needs the extra otel, which is not installed ({e})",
            param="otlp_endpoint",
            hint="in the checkout: .venv/bin/pip install '.[otel]'",
        ) from e
    provider = TracerProvider(
        resource=Resource.create({"service.name": "edgeinfer", "service.version": __version__}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, timeout=EXPORT_TIMEOUT)))
    return provider


def _trace_headers(scope: Scope) -> dict[str, str]:
    wanted = (b"traceparent", b"tracestate")
    return {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in wanted}


def _model_attributes(began: float, figures: RequestFigures) -> dict[str, Any]:
    """The figures, by OpenTelemetry's names where it has one."""
    if figures.model is None:
        return {}
    attributes: dict[str, Any] = {
        "gen_ai.request.model": figures.model,
        "gen_ai.usage.input_tokens": figures.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": figures.cached_tokens,
        "gen_ai.usage.output_tokens": figures.completion_tokens,
        "gen_ai.response.finish_reasons": figures.finish_reasons,
        "edgeinfer.queue_seconds": figures.queued,
    }
    if figures.first_token is not None:
        attributes["edgeinfer.time_to_first_token_seconds"] = figures.first_token - began
    return attributes
