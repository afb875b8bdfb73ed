"""`options`: how to sample. Those that decide how a model is loaded have no effect: the daemon's plan does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from edgeinfer.server.http.request_model import Strict
from edgeinfer.server.openai.schemas.sampling import RANDOM_SEED, Stops


def _whole(value: object) -> object:
    """Drop the fraction, as Ollama does: clients in languages without integers send 40.0."""
    return int(value) if isinstance(value, float) and abs(value) < 2**63 else value


Whole = Annotated[
    int,
    Field(ge=-(2**63), le=2**63 - 1),
    BeforeValidator(_whole),
    WithJsonSchema({"type": "number", "minimum": -(2**63), "maximum": 2**63 - 1}),
]
Ignored = Annotated[Any, Field(description="Has no effect.")]


class Options(Strict):
    """An absent or null option takes the model file's recommendation, else SamplingParams' default."""

    num_predict: Whole | None = None
    num_ctx: Whole | None = None
    temperature: float | None = None
    top_k: Whole | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_last_n: Whole | None = None
    repeat_penalty: float | None = Field(None, gt=0, le=100)
    presence_penalty: float | None = Field(None, ge=-100, le=100)
    frequency_penalty: float | None = Field(None, ge=-100, le=100)
    seed: Whole | None = None
    stop: Stops | None = None

    num_keep: Ignored = None
    num_batch: Ignored = None
    num_gpu: Ignored = None
    num_thread: Ignored = None
    main_gpu: Ignored = None
    use_mmap: Ignored = None
    use_mlock: Ignored = None
    numa: Ignored = None
    low_vram: Ignored = None
    f16_kv: Ignored = None
    logits_all: Ignored = None
    vocab_only: Ignored = None
    embedding_only: Ignored = None
    draft_num_predict: Ignored = None
    tfs_z: Ignored = None
    mirostat: Ignored = None
    mirostat_tau: Ignored = None
    mirostat_eta: Ignored = None
    penalize_newline: Ignored = None

    def sampling(self) -> dict[str, Any]:
        """The values that it has, by the names of SamplingParams; those outside a range mean its end."""
        values = {
            name: bounded(value)
            for name, bounded in BOUNDED.items()
            if (value := getattr(self, name)) is not None
        }
        for name in ("repeat_penalty", "presence_penalty", "frequency_penalty"):
            if (value := getattr(self, name)) is not None:
                values[name] = value
        if self.seed not in (None, RANDOM_SEED):
            values["seed"] = self.seed
        if self.num_predict is not None:
            values["max_tokens"] = self.num_predict if self.num_predict > 0 else None
        values["stop"] = tuple(self.stop or ())
        return values


def _between(low: float, high: float) -> Callable[[float], float]:
    return lambda value: max(low, min(value, high))


BOUNDED: Mapping[str, Callable[[Any], Any]] = {
    "temperature": _between(0.0, 100.0),
    "top_p": _between(0.0, 1.0),
    "min_p": _between(0.0, 1.0),
    "typical_p": _between(0.0, 1.0),
    "top_k": _between(0, 2**31 - 1),
    "repeat_last_n": _between(-1, 2**31 - 1),
}
