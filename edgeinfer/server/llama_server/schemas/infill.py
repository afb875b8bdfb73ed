"""POST /infill, as llama-server has it and editor plugins ask it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from edgeinfer.errors import InvalidRequest
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import ModelInfo
from edgeinfer.server.http.request_model import Harmless, Strict
from edgeinfer.server.openai.schemas.sampling import LLAMA_SERVER, SamplingFields

Step = Literal[
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature", "infill"
]
"""Of llama-server's sampling. Those we lack have fields of their own, which say that they do nothing."""

OFF: Mapping[Step, Mapping[str, float]] = {
    "penalties": {"repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0},
    "top_k": {"top_k": 0},
    "typ_p": {"typical_p": 1.0},
    "top_p": {"top_p": 1.0},
    "min_p": {"min_p": 0.0},
    "temperature": {"temperature": 1.0},
}
"""What switches off a step that is not listed."""


class ExtraFile(Strict):
    """`time` is when a plugin took it."""

    text: str
    filename: str = "tmp"
    time: Any = None


class InfillRequest(SamplingFields):
    input_prefix: str
    input_suffix: str
    input_extra: list[ExtraFile] = Field([], max_length=1024)
    prompt: str = ""
    n: int = Field(1, ge=1, le=1)
    n_predict: int | None = Field(None, ge=-1, le=2**31 - 1)
    n_indent: int = Field(0, ge=0, le=1024)
    t_max_predict_ms: int = Field(0, ge=-1)
    samplers: list[Step] | None = None
    response_fields: list[str] = Field([], max_length=128)

    unsupported: ClassVar[Mapping[str, Harmless]] = {
        **{name: fine for name, fine in LLAMA_SERVER.items() if name not in ("n_predict", "samplers")},
        "lora": ([],),
        "return_progress": (False,),
        "return_tokens": (False,),
    }
    # Which slot has the cache, and how long reading a prompt may take: nothing that changes an answer.
    accepted: ClassVar[frozenset[str]] = SamplingFields.accepted | {"id_slot", "t_max_prompt_ms"}

    def limit(self) -> int | None:
        """The most tokens an answer may have, None for no limit; two names, one value."""
        both = {self.n_predict, self.max_tokens} - {None}
        if len(both) > 1:
            raise InvalidRequest("n_predict and max_tokens differ: give one", param="n_predict")
        found = both.pop() if both else None
        return None if found == -1 else found

    def infill_params(self, info: ModelInfo) -> SamplingParams:
        """With a limit of 0 the prompt is read all the same, and one token comes of it, not to be shown."""
        limit = self.limit()
        found = self.params(info, None, 1 if limit == 0 else limit)
        return msgspec.structs.replace(found, **self._switched())

    def _switched(self) -> dict[str, float]:
        """What `samplers` decide. `infill` keeps to what is all but certain: here, the likeliest token."""
        if self.samplers is None:
            return {}
        listed = set(self.samplers)
        found = {
            name: off for step, values in OFF.items() if step not in listed for name, off in values.items()
        }
        return {**found, "temperature": 0.0} if "infill" in listed else found
