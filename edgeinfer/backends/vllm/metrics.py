"""Reads what vLLM says about itself in Prometheus' text format."""

from __future__ import annotations

import re

import msgspec

LINE = re.compile(r"^vllm:(\w+)(?:\{([^}]*)\})? ([-+.\w]+)$", re.M)
LABEL = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')


class VllmMetrics(msgspec.Struct, frozen=True):
    """Figures of one moment.

    Attributes:
        steps: steps of the engine so far; it makes progress when this grows.
        kv_tokens: tokens that the KV cache has room for.
        kv_usage: the share of it that is in use.
        preemptions: answers that had to make room for others, and were computed again.
    """

    steps: int = 0
    kv_tokens: int = 0
    kv_usage: float = 0.0
    preemptions: int = 0


def parse_metrics(text: str) -> VllmMetrics:
    """Read those that are used here; one that is missing is 0."""
    sums: dict[str, float] = {}
    kv_tokens = 0
    for name, labels, value in LINE.findall(text):
        try:
            sums[name] = sums.get(name, 0.0) + float(value)
        except ValueError:
            continue
        if name == "cache_config_info":
            kv_tokens += _kv_tokens(dict(LABEL.findall(labels)))
    return VllmMetrics(
        steps=int(sums.get("iteration_tokens_total_count", 0)),
        kv_tokens=kv_tokens,
        kv_usage=sums.get("kv_cache_usage_perc", 0.0),
        preemptions=int(sums.get("num_preemptions_total", 0)),
    )


def _kv_tokens(labels: dict[str, str]) -> int:
    try:
        return int(labels["num_gpu_blocks"]) * int(labels["block_size"])
    except (KeyError, ValueError):
        return 0
