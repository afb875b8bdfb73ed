"""The body of POST /infill, as in llama-server and as editor plugins use it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from edgeinfer.errors import InvalidRequest
from edgeinfer.server.http.request_model import Items, Strict
from edgeinfer.server.openai.schemas.sampling import SamplingFields


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
    response_fields: Items[str] = Field([], max_length=128)

    # The time limit for the prompt does not affect the answer.
    accepted: ClassVar[frozenset[str]] = SamplingFields.accepted | {"t_max_prompt_ms"}

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
        return self.sampling(1 if limit == 0 else limit)
