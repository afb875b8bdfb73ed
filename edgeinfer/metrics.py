"""Collects Prometheus metrics, all prefixed `edgeinfer_`, in a registry for each daemon."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
GAPS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5)

ENGINE_COUNTERS = {
    "prompt_tokens": "Prompt tokens computed.",
    "cached_tokens": "Prompt tokens found in the KV cache.",
    "completion_tokens": "Tokens generated.",
    "forced_tokens": "Tokens that a constraint forced.",
    "steps": "Decode calls.",
    "preemptions": "Answers interrupted because the KV cache was full.",
    "ram_cache_hits": "Prefixes copied back from RAM to the KV cache.",
    "ram_cache_tokens": "Prompt tokens that were copied back from RAM, not computed.",
    "ram_cache_failures": "Prefixes that could not be copied to or from RAM.",
    "snapshots": "Copies of answers in progress, which a restarted worker can continue.",
    "resumed_answers": "Answers that a restarted worker continued from such a copy.",
    "resumed_tokens": "Tokens in these copies, which did not have to be computed again.",
}
"""Counters by the engine's field without `_total`. Those that an engine does not have are left out."""

DRAFT_COUNTERS = {"drafted": "Tokens drafted.", "accepted": "Drafted tokens that were accepted."}
"""Counters by who has guessed: what an answer repeats (ngram), its request's prediction, or a draft model."""

ENGINE_GAUGES = {
    "running": ("running", 1.0, "Answers being generated."),
    "waiting": ("queue_depth", 1.0, "Answers waiting for their turn."),
    "cells": ("kv_cells", 1.0, "Size of the KV cache in tokens."),
    "cells_used": ("kv_cells_used", 1.0, "Tokens of the KV cache in use by running answers."),
    "cells_cached": ("kv_cells_cached", 1.0, "Tokens of the KV cache kept for prompts with the same prefix."),
    "ram_cache_bytes": ("ram_cache_bytes", 1.0, "Size of the prefixes kept in RAM below the KV cache."),
    "step_ms": ("step_seconds", 1e-3, "Duration of the last decode call."),
    "threads": (
        "threads",
        1.0,
        "Threads that compute: fewer than planned while other programs need the cores.",
    ),
}

MODEL_STATES = ("unloaded", "loading", "ready", "restarting", "reloading", "failed", "stopped")


class MeasuredBuild(Protocol):
    """The program that computes a model."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def isa(self) -> tuple[str, ...]: ...

    @property
    def variant(self) -> str | None: ...


class MeasuredEngine(Protocol):
    """What computes a loaded model."""

    @property
    def load_seconds(self) -> float: ...

    @property
    def pid(self) -> int | None: ...

    @property
    def build(self) -> MeasuredBuild | None: ...


class MeasuredModel(Protocol):
    """A model whose figures are read at each scrape."""

    name: str

    @property
    def state(self) -> str: ...

    @property
    def stats(self) -> object:
        """The engine's figures, including requests that wait in the queue."""
        ...

    @property
    def restarts(self) -> int: ...

    @property
    def resumed(self) -> int: ...

    @property
    def health(self) -> MeasuredEngine | None: ...


class Metrics:
    """Counts requests, and reads the figures of `models` at each scrape."""

    def __init__(self, models: Callable[[], Iterable[MeasuredModel]]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Engines(models))
        self._requests = Counter(
            "edgeinfer_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._ignored = Counter(
            "edgeinfer_ignored_fields",
            "Unknown fields of requests that were ignored.",
            ["route"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "edgeinfer_request_seconds",
            "Time to the end of the response.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._first = Histogram(
            "edgeinfer_time_to_first_token_seconds",
            "Time from the validated request to its first token.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._gaps = Histogram(
            "edgeinfer_token_gap_seconds",
            "Time between two pieces of one answer.",
            ["model"],
            buckets=GAPS,
            registry=self.registry,
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._durations.labels(route).observe(seconds)

    def ignored(self, route: str, fields: int) -> None:
        self._ignored.labels(route).inc(fields)

    def watch(self, model: str) -> Watch:
        """A watch for the deltas of one request to `model`."""
        return Watch(self._first.labels(model), self._gaps.labels(model))

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


class _Engines(Collector):
    def __init__(self, models: Callable[[], Iterable[MeasuredModel]]) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        models = list(self._models())
        for name, text in ENGINE_COUNTERS.items():
            counter = CounterMetricFamily(f"edgeinfer_{name}", text, labels=["model"])
            yield from _filled(counter, models, _figure(f"{name}_total"))
        for name, text in DRAFT_COUNTERS.items():
            yield from _drafts(name, text, models)
        for field, (name, factor, text) in ENGINE_GAUGES.items():
            gauge = GaugeMetricFamily(f"edgeinfer_{name}", text, labels=["model"])
            yield from _filled(gauge, models, _figure(field, factor))
        for family, value in _of_models():
            yield from _filled(family, models, value)
        yield _states(models)
        yield _memory(models)
        yield from _builds(models)


def _figure(field: str, factor: float = 1.0) -> Callable[[MeasuredModel], float | None]:
    """Make a reader of one figure in base units; it returns None if the engine does not have it."""

    def read(model: MeasuredModel) -> float | None:
        figure: float | None = getattr(model.stats, field, None)
        return None if figure is None else figure * factor

    return read


def _of_models() -> Iterator[
    tuple[CounterMetricFamily | GaugeMetricFamily, Callable[[MeasuredModel], float | None]]
]:
    def counter(name: str, text: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"edgeinfer_{name}", text, labels=["model"])

    def gauge(name: str, text: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"edgeinfer_{name}", text, labels=["model"])

    yield gauge("kv_usage", "Share of the KV cache in use by running answers, 0 to 1."), _kv_usage
    yield counter("worker_restarts", "Workers started again."), lambda model: model.restarts
    yield counter("resumed_streams", "Answers that another worker continued."), lambda model: model.resumed
    yield gauge("ready", "1 while the model answers."), lambda model: model.state == "ready"
    yield gauge("load_seconds", "Time the model took to load."), _load_seconds


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily,
    models: Sequence[MeasuredModel],
    value: Callable[[MeasuredModel], float | None],
) -> Iterator[Metric]:
    """The family with a sample for each model that has the figure; nothing if none has it."""
    for model in models:
        if (figure := value(model)) is not None:
            family.add_metric([model.name], figure)
    if family.samples:
        yield family


def _drafts(name: str, text: str, models: Sequence[MeasuredModel]) -> Iterator[Metric]:
    family = CounterMetricFamily(f"edgeinfer_{name}_tokens", text, labels=["model", "drafter"])
    for model in models:
        total = getattr(model.stats, f"{name}_tokens_total", None)
        if total is None:
            continue
        others = {
            "prediction": getattr(model.stats, f"{name}_by_prediction_total", 0),
            "model": getattr(model.stats, f"{name}_by_model_total", 0),
        }
        for drafter, tokens in {"ngram": total - sum(others.values()), **others}.items():
            family.add_metric([model.name, drafter], tokens)
    if family.samples:
        yield family


def _load_seconds(model: MeasuredModel) -> float:
    return model.health.load_seconds if model.health else 0.0


def _kv_usage(model: MeasuredModel) -> float | None:
    cells, used = getattr(model.stats, "cells", None), getattr(model.stats, "cells_used", 0)
    return used / cells if cells else None


def _states(models: Sequence[MeasuredModel]) -> Metric:
    text = "1 for the state that the model is in, 0 for the others."
    family = GaugeMetricFamily("edgeinfer_model_state", text, labels=["model", "state"])
    for model in models:
        for state in MODEL_STATES:
            family.add_metric([model.name, state], float(model.state == state))
    return family


def _memory(models: Sequence[MeasuredModel]) -> Metric:
    family = GaugeMetricFamily("edgeinfer_rss_bytes", "Resident memory.", labels=["process", "model"])
    pids = [
        ("daemon", "", os.getpid()),
        *(("worker", model.name, model.health.pid) for model in models if model.health),
    ]
    for process, model, pid in pids:
        with contextlib.suppress(psutil.Error):
            if pid is not None:
                family.add_metric([process, model], psutil.Process(pid).memory_info().rss)
    return family


def _builds(models: Sequence[MeasuredModel]) -> Iterator[Metric]:
    labels = ["model", "engine", "version", "variant", "isa"]
    family = GaugeMetricFamily("edgeinfer_engine_info", "1, and what computes the model.", labels=labels)
    for model in models:
        if model.health and (build := model.health.build):
            isa = " ".join(build.isa)
            family.add_metric([model.name, build.name, build.version, build.variant or "", isa], 1)
    if family.samples:
        yield family
