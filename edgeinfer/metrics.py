"""Prometheus metrics, all prefixed `edgeinfer_`. One registry for each daemon, none for the process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)

ENGINE_COUNTERS = {
    "prompt_tokens": "Tokens of prompts taken in.",
    "cached_tokens": "Tokens of prompts that were still in the KV cache.",
    "completion_tokens": "Tokens produced.",
    "drafted_tokens": "Tokens guessed.",
    "accepted_tokens": "Guessed tokens that were right.",
    "forced_tokens": "Tokens that a constraint left no choice about.",
    "steps": "Decode calls.",
    "preemptions": "Answers interrupted because the KV cache was full.",
}
"""Counters by the engine's field, less its `_total`. What this engine does not count is left out."""

ENGINE_GAUGES = {
    "running": ("running", 1.0, "Answers being generated."),
    "waiting": ("queue_depth", 1.0, "Answers waiting for their turn."),
    "cells": ("kv_cells", 1.0, "Size of the KV cache in tokens."),
    "cells_used": ("kv_cells_used", 1.0, "Of these, in use by running answers."),
    "cells_cached": ("kv_cells_cached", 1.0, "Of these, kept for prompts that may begin alike."),
    "step_ms": ("step_seconds", 1e-3, "Duration of the last decode call."),
}


class Source(Protocol):
    """Where the figures come from: the engine's health."""

    @property
    def restarts(self) -> int: ...

    @property
    def state(self) -> str: ...

    @property
    def stats(self) -> object: ...

    @property
    def pid(self) -> int | None: ...


class Metrics:
    """What the daemon counts itself, and a reader of the engine's figures at the time of a scrape.

    `waiting` tells how many answers wait before they reach the engine.
    """

    def __init__(self, source: Source, waiting: Callable[[], int] = int) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Engine(source, waiting))
        self._requests = Counter(
            "edgeinfer_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._durations = Histogram(
            "edgeinfer_request_seconds",
            "Time to the end of the answer.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._first = Histogram(
            "edgeinfer_time_to_first_token_seconds",
            "From the checked request to its first token.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._gaps = Histogram(
            "edgeinfer_token_gap_seconds",
            "Between two pieces of one answer.",
            buckets=GAPS,
            registry=self.registry,
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._durations.labels(route).observe(seconds)

    def watch(self) -> Watch:
        """To be told of each delta of one request."""
        return Watch(self._first, self._gaps)

    def text(self) -> bytes:
        """Prometheus' exposition format, text version 0.0.4."""
        return generate_latest(self.registry)


class Watch:
    """Times one request's deltas."""

    def __init__(self, first: Histogram, gaps: Histogram) -> None:
        self._first = first
        self._gaps = gaps
        self._started = time.perf_counter()
        self._last: dict[int, float] = {}

    def delta(self, index: int) -> None:
        now = time.perf_counter()
        if before := self._last.get(index):
            self._gaps.observe(now - before)
        elif not self._last:
            self._first.observe(now - self._started)
        self._last[index] = now


class _Engine(Collector):
    def __init__(self, source: Source, waiting: Callable[[], int]) -> None:
        self._source = source
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        stats = self._source.stats
        for name, text in ENGINE_COUNTERS.items():
            if (count := getattr(stats, f"{name}_total", None)) is not None:
                yield CounterMetricFamily(f"edgeinfer_{name}", text, value=count)
        for field, (name, factor, text) in ENGINE_GAUGES.items():
            if (value := getattr(stats, field, None)) is not None:
                value += self._waiting() if field == "waiting" else 0
                yield GaugeMetricFamily(f"edgeinfer_{name}", text, value=value * factor)
        yield from self._worker()
        yield _memory({"daemon": os.getpid(), "worker": self._source.pid})

    def _worker(self) -> Iterator[Metric]:
        source = self._source
        yield CounterMetricFamily(
            "edgeinfer_worker_restarts", "Workers started again.", value=source.restarts
        )
        if (resumed := getattr(source, "resumed", None)) is not None:
            text = "Answers that another worker went on with."
            yield CounterMetricFamily("edgeinfer_resumed_streams", text, value=resumed)
        yield GaugeMetricFamily("edgeinfer_ready", "1 while a model answers.", value=source.state == "ready")
        if (seconds := getattr(source, "load_seconds", None)) is not None:
            yield GaugeMetricFamily("edgeinfer_load_seconds", "Time the model took to load.", value=seconds)


def _memory(pids: Mapping[str, int | None]) -> Metric:
    found = GaugeMetricFamily("edgeinfer_rss_bytes", "Resident memory.", labels=["process"])
    for name, pid in pids.items():
        with contextlib.suppress(psutil.Error):
            if pid is not None:
                found.add_metric([name], psutil.Process(pid).memory_info().rss)
    return found
