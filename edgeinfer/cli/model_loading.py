"""`edgeinfer models load` and `unload`: which models the daemon holds in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.common_options import ApiKey, Url

if TYPE_CHECKING:
    import httpx

    from edgeinfer.client.http import Target
    from edgeinfer.client.status import ModelReply

POLL_INTERVAL = 0.2
"""Seconds between two looks at a model that is loading."""

PASSING = ("loading", "restarting", "reloading")
"""States that end by themselves."""

ModelName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the model, as in `edgeinfer status`.")
]


def load(name: ModelName, url: Url = None, api_key: ApiKey = None) -> None:
    """Load a model into the daemon's memory.

    The command waits until the model answers. The first request that names a model loads it too. Idle models
    are unloaded if memory is short.

    Examples:
      edgeinfer models load qwen3-0.6b
    """
    import time

    from edgeinfer.cli import terminal
    from edgeinfer.client.http import connect, post_json, resolve_target
    from edgeinfer.errors import ModelLoadFailed

    target = resolve_target(url, api_key)
    with connect(target) as client:
        post_json(client, target, "/models/load", {"model": name})
        while (model := _model(client, target, name)) and model.state in PASSING:
            time.sleep(POLL_INTERVAL)
    if model and model.state == "failed":
        raise ModelLoadFailed(model.error or f"{name} could not be loaded", hint="edgeinfer logs")
    terminal.say(f"{name} is loaded")


def unload(name: ModelName, url: Url = None, api_key: ApiKey = None) -> None:
    """Unload a model from the daemon's memory.

    Its requests in progress finish first. The model stays installed, and the next request that names it
    loads it again.

    Examples:
      edgeinfer models unload qwen3-0.6b
    """
    from edgeinfer.cli import terminal
    from edgeinfer.client.http import connect, post_json, resolve_target

    target = resolve_target(url, api_key)
    with connect(target) as client:
        post_json(client, target, "/models/unload", {"model": name})
    terminal.say(f"{name} is unloaded")


def _model(client: httpx.Client, target: Target, name: str) -> ModelReply | None:
    """Return the daemon's report on a model; None if it is not listed under this name."""
    from edgeinfer.client.status import get_status

    return next((model for model in get_status(client, target).models if model.name == name), None)
