"""Ollama's routes that this daemon does not have. They say what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from edgeinfer.errors import NotImplementedHere

Handler = Callable[[], Coroutine[Any, Any, None]]

IMPORT_HINT = "on the daemon's machine: edgeinfer models import FILE"
ALIAS_HINT = (
    "a table [models.NAME] in the configuration file gives a model another name, and settings of its own"
)


def refusal(what: str, hint: str | None = None) -> Handler:
    """A handler that raises NotImplementedHere."""

    async def refuse() -> None:
        raise NotImplementedHere(f"edgeinfer does not {what}", hint=hint)

    return refuse


create = refusal("make models from others", ALIAS_HINT)
copy = refusal("copy models", ALIAS_HINT)
push = refusal("publish models")
blobs = refusal("take files of models over the network", IMPORT_HINT)
account = refusal("have accounts in a cloud")
web = refusal("search the web")
