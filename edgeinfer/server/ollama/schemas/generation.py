"""The fields that /api/chat and /api/generate share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from edgeinfer.errors import InvalidRequest
from edgeinfer.grammar.source import GrammarSource
from edgeinfer.server.ollama.schemas.base import KeepAlive, ModelName, OllamaRequest
from edgeinfer.server.ollama.schemas.options import Options
from edgeinfer.serving.chat import Effort

ANSWER = "answer"
"""The name of the caller's schema in the grammar of an answer."""

NO_IMAGES = "the models here read text: leave the images out, or describe them in the text"


class GenerationRequest(OllamaRequest):
    """`truncate`: drop the oldest messages if the context has no room for all. `shift` has no effect."""

    model: ModelName
    stream: bool = True
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options = Field(default_factory=lambda: Options.model_validate({}))
    keep_alive: KeepAlive | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    truncate: bool = True
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)

    @property
    def unloads(self) -> bool:
        """Where it has no prompt."""
        return self.keep_alive == 0

    @property
    def thinking(self) -> int | Effort | None:
        """As ChatCall has it."""
        match self.think:
            case False:
                return 0
            case "low" | "medium" | "high":
                return self.think
            case _:
                return None

    def source(self) -> GrammarSource | None:
        """The form of an answer; None is any text."""
        if not self.format:
            return None
        schema = {"type": "object"} if isinstance(self.format, str) else self.format
        return GrammarSource(ANSWER, "json_schema", schema, "format")

    def sampling(self) -> dict[str, Any]:
        """The values that the request has, by the names of SamplingParams."""
        return {**self.options.sampling(), "logprobs": self.top_logprobs if self.logprobs else None}


def check_images(images: object, where: str) -> None:
    """Raises InvalidRequest if there are any."""
    if images:
        raise InvalidRequest(f"{where}: images are not supported", param=where, hint=NO_IMAGES)
