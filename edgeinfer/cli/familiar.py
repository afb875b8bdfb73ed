"""Commands under the names that users of other programs bring, such as Ollama's. `--help` does not list them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from edgeinfer.cli import model_loading, models, service
from edgeinfer.cli.chat import chat
from edgeinfer.cli.pull import pull
from edgeinfer.cli.status import status

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model: NAME, NAME:QUANT or NAME:SIZE.")]


def run(
    model: Model,
    prompt: Annotated[str | None, typer.Argument(help="The question. Default: a conversation.")] = None,
) -> None:
    """Chat with a model; it is downloaded first if it is not installed.

    The same as: edgeinfer pull MODEL; edgeinfer chat --model MODEL
    """
    from edgeinfer import settings
    from edgeinfer.errors import ModelNotFound
    from edgeinfer.store.lookup import find_model, is_file_reference
    from edgeinfer.store.model_name import split_name
    from edgeinfer.store.store import Store

    try:
        find_model(model, Store.of(settings.load().settings))
    except ModelNotFound:
        if is_file_reference(model) and not is_repository(model):
            raise
        pull(model)
    name, quant = split_name(model)
    chat(prompt, model=f"{name}:{quant}" if quant else name)


def is_repository(model: str) -> bool:
    """Tell whether a model is named by its repository on the hub."""
    from edgeinfer.errors import InvalidRequest
    from edgeinfer.hub.reference import parse_reference

    try:
        return parse_reference(model).repo is not None
    except InvalidRequest:
        return False


def stop(
    model: Annotated[
        str | None, typer.Argument(help="A model to unload. Default: the whole service.")
    ] = None,
) -> None:
    """Stop the service, or unload one model.

    The same as: edgeinfer service stop, or: edgeinfer models unload MODEL
    """
    if model is None:
        service.stop()
    else:
        model_loading.unload(model)


def help_(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="A command.")] = None,
) -> None:
    """List the commands, or explain one.

    The same as: edgeinfer --help, or: edgeinfer COMMAND --help
    """
    if context.parent:
        context.parent.command.main([*(words or []), "--help"], prog_name=context.parent.command_path)


def version() -> None:
    """Print the version.

    The same as: edgeinfer --version
    """
    from edgeinfer import __version__

    print(f"edgeinfer {__version__}")


def upgrade() -> None:
    """Say how edgeinfer is upgraded."""
    from edgeinfer.errors import InvalidRequest

    raise InvalidRequest(
        "edgeinfer is upgraded where it was set up, not by a command of its own",
        hint="in its folder: git pull && scripts/setup && edgeinfer install; a model: edgeinfer pull --update MODEL",
    )


COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run,
    "stop": stop,
    "start": service.start,
    "restart": service.restart,
    "uninstall": service.uninstall,
    "list": models.ls,
    "ls": models.ls,
    "show": models.show,
    "rm": models.rm,
    "remove": models.rm,
    "delete": models.rm,
    "import": models.import_,
    "load": model_loading.load,
    "unload": model_loading.unload,
    "ps": status,
    "help": help_,
    "version": version,
    "upgrade": upgrade,
    "update": upgrade,
}
