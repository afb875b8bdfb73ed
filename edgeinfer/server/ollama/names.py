"""Names of models as Ollama has them: every one has a tag."""

from __future__ import annotations

from edgeinfer.serving.model import ServedModel
from edgeinfer.serving.registry import LATEST


def tagged_name(model: ServedModel) -> str:
    """The name, with the tag "latest" if it has none: clients put it there themselves, and compare."""
    return model.name if ":" in model.name else f"{model.name}:{LATEST}"
