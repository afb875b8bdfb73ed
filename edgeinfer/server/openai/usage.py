"""The cost of a request: usage as OpenAI counts it, timings as llama-server does."""

from __future__ import annotations

from msgspec import UNSET

from edgeinfer.inference import output
from edgeinfer.server.openai.types import (
    CompletionTokensDetails,
    CompletionUsage,
    ProgressCounts,
    PromptTokensDetails,
    Timings,
)
from edgeinfer.serving.usage import RequestUsage


def completion_usage(usage: RequestUsage) -> CompletionUsage:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    right = usage.accepted_tokens
    return CompletionUsage(
        prompt,
        completion,
        prompt + completion,
        PromptTokensDetails(usage.cached_tokens),
        CompletionTokensDetails(right, drafted - right) if (drafted := usage.drafted_tokens) else UNSET,
    )


def timings(usage: RequestUsage) -> Timings:
    cached = usage.cached_tokens
    prompt_n, predicted_n = usage.prompt_tokens - cached, usage.completion_tokens
    prompt_ms, predicted_ms = round(usage.prompt_ms, 3), round(usage.predicted_ms, 3)
    return Timings(
        cache_n=cached,
        prompt_n=prompt_n,
        prompt_ms=prompt_ms,
        prompt_per_token_ms=_each(prompt_ms, prompt_n),
        prompt_per_second=_rate(prompt_n, prompt_ms),
        predicted_n=predicted_n,
        predicted_ms=predicted_ms,
        predicted_per_token_ms=_each(predicted_ms, predicted_n),
        predicted_per_second=_rate(predicted_n, predicted_ms),
        queue_ms=round(usage.queue_ms, 3),
        draft_n=usage.drafted_tokens or UNSET,
        draft_n_accepted=usage.accepted_tokens if usage.drafted_tokens else UNSET,
        models=usage.models or UNSET,
    )


def prompt_progress(progress: output.PromptProgress) -> ProgressCounts:
    return ProgressCounts(progress.total, progress.cached, progress.computed, round(progress.ms))


def _each(ms: float, count: int) -> float:
    return round(ms / count, 3) if count else 0.0


def _rate(count: int, ms: float) -> float:
    return round(1000 * count / ms, 3) if ms > 0 else 0.0
