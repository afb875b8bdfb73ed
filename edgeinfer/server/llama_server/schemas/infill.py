"""The body of POST /infill, as in llama-server and as editor plugins use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.request_model import Harmless, Items, Strict
from edgeinfer.server.openai.schemas.sampling import LLAMA_SERVER, SamplingFields

Step = Literal[
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature", "infill"
]
"""llama-server's sampling steps. Those that we lack also have request fields, which accept only "off"."""

MAX_STEPS = 64
"""Entries of `samplers`, which may repeat themselves."""

OFF: Mapping[Step, Mapping[str, float]] = {
    "penalties": {"repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "top_k": {"top_k": 0},
    "typ_p": {"typical_p": 1.0},
    "top_p": {"top_p": 1.0},
    "min_p": {"min_p": 0.0},
    "temperature": {"temperature": 1.0},
}
"""The values that switch off a step."""


class ExtraFileParam(Strict):
    """Another file of the project, read by the plugin at `time`."""

    text: str
    filename: str = "tmp"
    time: Any = None


class InfillRequest(SamplingFields):
    input_prefix: str
    input_suffix: str
    input_extra: Items[ExtraFileParam] = Field([], max_length=1024)
    prompt: str = ""
    n: int = Field(1, ge=1, le=1)
    n_predict: int | None = Field(None, ge=-1, le=2**31 - 1)
    n_indent: int = Field(0, ge=0, le=1024)
    t_max_predict_ms: int = Field(0, ge=-1, le=2**31 - 1)
    samplers: Items[Step] | None = Field(None, max_length=MAX_STEPS)
    response_fields: Items[str] = Field([], max_length=128)

    unsupported: ClassVar[Mapping[str, Harmless]] = {
        **{name: fine for name, fine in LLAMA_SERVER.items() if name not in ("n_predict", "samplers")},
        "lora": ([],),
        "return_progress": (False,),
        "return_tokens": (False,),
    }
    # The slot to use, and the time limit for the prompt: neither affects the answer.
    accepted: ClassVar[frozenset[str]] = SamplingFields.accepted | {"id_slot", "t_max_prompt_ms"}

    def token_limit(self) -> int | None:
        """The maximum length of an answer, which has two names; None is without limit."""
        limits = {self.n_predict, self.max_tokens} - {None}
        if len(limits) > 1:
            raise InvalidRequest(
                "n_predict and max_tokens have different values: use one of them", param="n_predict"
            )
        limit = limits.pop() if limits else None
        return None if limit == -1 else limit

    def infill_sampling(self) -> dict[str, Any]:
        """The values that the request has, by the names of SamplingParams.

        With a limit of 0 the prompt is still computed, and one token is generated but not returned.
        """
        limit = self.token_limit()
        return {**self.sampling(1 if limit == 0 else limit), **self._switched()}

    def _switched(self) -> dict[str, float]:
        """The values that follow from `samplers`. `infill` picks the most likely token."""
        if self.samplers is None:
            return {}
        off = (values for step, values in OFF.items() if step not in self.samplers)
        switched = {name: value for values in off for name, value in values.items()}
        return {**switched, "temperature": 0.0} if "infill" in self.samplers else switched
