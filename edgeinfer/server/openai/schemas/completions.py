"""POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from edgeinfer.errors import UnsupportedParameter
from edgeinfer.server.openai.schemas.formats import FormatFields
from edgeinfer.server.openai.schemas.inputs import Inputs

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default, which this endpoint alone has."""


class CompletionRequest(FormatFields):
    prompt: Annotated[Inputs, Field(max_length=128)]
    suffix: str = ""
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool = False

    @classmethod
    def adapt(cls, values: dict[str, Any]) -> None:
        super().adapt(values)
        if values.get("best_of") == values.get("n", 1):  # there is nothing to choose
            values.pop("best_of", None)

    def token_limit(self) -> int:
        """The maximum length of an answer; -1 is without limit."""
        return DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens

    def check_echo(self) -> None:
        """Raises UnsupportedParameter for an echo with log-probabilities: the prompt's are not computed."""
        if self.echo and self.logprobs is not None:
            raise UnsupportedParameter("echo with logprobs is not supported", param="echo")
