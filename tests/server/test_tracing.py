"""Spans of requests at an OTLP receiver, and the figures of requests in JSON lines."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from edgeinfer import log
from edgeinfer.errors import SettingsError
from edgeinfer.server.tracing import Tracing
from tests.support.server import INFO, Scripted, Served, application, serving

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """Receives traces as a collector does; `requests` are the messages, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Span]:
        resources = [resource for request in self.requests for resource in request.resource_spans]
        return [span for resource in resources for scope in resource.scope_spans for span in scope.spans]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        assert self.path == "/v1/traces"
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@contextlib.contextmanager
def traced(collector: Collector) -> Iterator[Served]:
    """A daemon; what it has not sent comes when it stops."""
    with serving(Scripted("one", "two", "three"), otlp_endpoint=collector.url) as served:
        yield served


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_a_span_with_its_tokens_and_times(collector: Collector, stream: bool) -> None:
    with traced(collector) as served:
        response = served.chat("a secret", stream=stream, max_tokens=8)
        assert response.status_code == 200
    [span] = collector.spans()
    found = attributes(span)
    assert span.name == "POST /v1/chat/completions"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert span.end_time_unix_nano > span.start_time_unix_nano
    assert found["http.response.status_code"] == 200
    assert found["http.route"] == "/v1/chat/completions"
    assert found["edgeinfer.request_id"] == response.headers["x-request-id"]
    assert found["gen_ai.request.model"] == INFO.name
    assert found["gen_ai.usage.input_tokens"] > 0
    assert found["gen_ai.usage.output_tokens"] == 3
    assert found["gen_ai.response.finish_reasons"] == ["stop"]
    assert found["edgeinfer.queue_seconds"] >= 0
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    assert 0 < found["edgeinfer.time_to_first_token_seconds"] <= seconds
    assert b"secret" not in collector.requests[0].SerializeToString()


def test_a_span_continues_the_clients_trace(collector: Collector) -> None:
    with traced(collector) as served:
        served.client.get("/v1/models", headers={"traceparent": PARENT})
        served.client.get("/v1/models", headers={"traceparent": "nonsense"})
    first, second = collector.spans()
    assert first.trace_id.hex() == PARENT.split("-")[1]
    assert first.parent_span_id.hex() == PARENT.split("-")[2]
    assert second.parent_span_id == b""
    assert not [name for name in attributes(first) if name.startswith("gen_ai")], "it asked no model"


def test_health_checks_are_no_spans_and_errors_are_marked(collector: Collector) -> None:
    with traced(collector) as served:
        served.client.get("/health")
        served.client.get("/metrics")
        served.client.post("/v1/chat/completions", json={})
    [span] = collector.spans()
    assert attributes(span)["http.response.status_code"] == 400
    assert span.status.code == 0, "it is the client's error, not ours"


def test_a_collector_that_is_gone_disturbs_nobody() -> None:
    with serving(Scripted("one"), otlp_endpoint="http://127.0.0.1:9") as served:
        assert served.chat().status_code == 200


def test_nothing_is_traced_unless_it_is_configured() -> None:
    assert application(Scripted()).state.edgeinfer.tracing is None


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4318", "ftp://board", "http://"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="otlp_endpoint"):
        Tracing(endpoint)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match="extra otel"):
        Tracing("http://127.0.0.1:4318")


# --- JSON lines


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.setup("info", stream, {}, form="json")
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_line_of_the_log_is_an_object_with_the_requests_figures(lines: io.StringIO) -> None:
    with serving(Scripted("one", "two")) as served:
        response = served.chat()
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    [access] = [one for one in found if one["logger"] == "edgeinfer.access"]
    assert access["level"] == "info"
    assert access["time"].endswith("Z")
    assert (access["method"], access["path"], access["status"]) == ("POST", "/v1/chat/completions", 200)
    assert access["request_id"] == response.headers["x-request-id"]
    assert (access["model"], access["completion_tokens"]) == (INFO.name, 2)
    assert 0 < access["first_token_seconds"] <= access["seconds"]


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "\u2028\x85", "\ud800", '"quoted"\\', "ä"])
def test_whatever_is_logged_stays_one_line(lines: io.StringIO, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("edgeinfer.server").exception("it was %s", text)
    [line] = lines.getvalue().splitlines()
    assert line.isprintable() or "ä" in line
    found = json.loads(line)
    assert found["message"].startswith("it was ")
    assert "ValueError" in found["traceback"]
    if text.isprintable():
        assert found["message"] == f"it was {text}"
