"""POST /api/generate."""

from __future__ import annotations

from typing import Any

from edgeinfer.errors import InvalidRequest, UnsupportedParameter
from edgeinfer.server.ollama.schemas.generation import GenerationRequest, check_images

RAW_FORBIDS = ("system", "suffix")


class OllamaGenerateRequest(GenerationRequest):
    """`raw`: the prompt is for the model as it is, control tokens included."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    raw: bool = False
    template: str = ""
    context: list[Any] | None = None
    images: list[Any] | None = None

    def check(self) -> None:
        """Raises InvalidRequest for what cannot be done, and for fields that contradict each other."""
        check_images(self.images, "images")
        if self.template:
            raise UnsupportedParameter(
                "a template of the request is not supported: the model's own is used",
                param="template",
                hint='leave it out; with "raw": true the prompt is not put into any template',
            )
        if self.context:
            raise UnsupportedParameter(
                "context is not supported", param="context", hint="send the conversation to /api/chat"
            )
        if self.raw and (name := next((name for name in RAW_FORBIDS if getattr(self, name)), None)):
            raise InvalidRequest(f"raw mode does not support {name}", param=name)
