"""The command line: one Typer app, and a file for each command or group."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from edgeinfer.cli import cluster, code, familiar, key, model_loading, models, service
from edgeinfer.cli.backup import backup, restore
from edgeinfer.cli.bench import bench
from edgeinfer.cli.chat import chat
from edgeinfer.cli.command import Command, Group
from edgeinfer.cli.completion import completion, install_script
from edgeinfer.cli.connect import connect
from edgeinfer.cli.doctor import doctor
from edgeinfer.cli.install import install
from edgeinfer.cli.logs import logs
from edgeinfer.cli.mcp import mcp
from edgeinfer.cli.mirror import mirror
from edgeinfer.cli.plan import plan
from edgeinfer.cli.pull import pull
from edgeinfer.cli.reload import reload
from edgeinfer.cli.serve import serve
from edgeinfer.cli.status import StatusCommand, status


def help_of(command: Callable[..., Any]) -> str:
    """Return the docstring, with typer's mark (a backspace) on paragraphs laid out by hand."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join("\b\n" + p if "\n  " in p else p for p in paragraphs)


def _version(wanted: bool) -> None:
    if wanted:
        from edgeinfer import __version__

        print(f"edgeinfer {__version__}")
        raise typer.Exit


def _install_completion(wanted: bool) -> None:
    if wanted:
        install_script()
        raise typer.Exit


def edgeinfer(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    install_completion: Annotated[
        bool,
        typer.Option(
            "--install-completion",
            callback=_install_completion,
            is_eager=True,
            help="As `edgeinfer completion --install`.",
        ),
    ] = False,
) -> None:
    """Run language models on this machine, for programs and in the browser.

    Start here:
      edgeinfer chat "Hello"   ask a question; needs no daemon and no network
      edgeinfer serve          run the daemon: http://127.0.0.1:11435 in a browser
      edgeinfer status         show what the daemon is doing

    Exit codes: 0 success, 1 failure, 2 wrong usage, 130 stopped by Ctrl-C.
    """


app = typer.Typer(
    name="edgeinfer",
    cls=Group,
    callback=edgeinfer,
    help=help_of(edgeinfer),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (serve, chat, connect, plan, install, pull):
    app.command(help=help_of(command), cls=Command)(command)
app.command(help=help_of(status), cls=StatusCommand)(status)
for command in (reload, logs, doctor, bench, mirror, mcp, backup, restore, completion):
    app.command(help=help_of(command), cls=Command)(command)
for name, familiar_command in familiar.COMMANDS.items():
    kind = StatusCommand if familiar_command is status else Command
    app.command(name, help=help_of(familiar_command), cls=kind, hidden=True)(familiar_command)


def _group(
    name: str, about: str, *commands: Callable[..., Any], bare: Callable[[], None] | None = None
) -> None:
    """Add `edgeinfer NAME COMMAND`; without a command it runs `bare`, or shows its help."""
    group = typer.Typer(cls=Group, help=about, no_args_is_help=bare is None, rich_markup_mode=None)
    if bare:

        @group.callback(invoke_without_command=True, help=about)
        def without_command(context: typer.Context) -> None:
            if context.invoked_subcommand is None:
                bare()

    for command in commands:
        group.command(command.__name__.rstrip("_"), help=help_of(command), cls=Command)(command)
    app.add_typer(group, name=name)


_group(
    "code",
    "Ask about code, mend and complete it, or talk about it.",
    code.ask,
    code.explain,
    code.fix,
    code.review,
    code.test,
    code.commit,
    code.complete,
    code.undo,
    code.hook,
    code.talk,
    bare=code.talk,
)
_group(
    "cluster",
    "Serve models with several machines behind one address.",
    cluster.up,
    cluster.join,
    cluster.down,
    cluster.update,
    cluster.canary,
    cluster.status,
    cluster.config,
)
_group("key", "Create, list and remove the daemon's API keys.", key.add, key.ls, key.rm)
_group(
    "service",
    "Run edgeinfer under the machine's service manager.",
    service.install,
    service.uninstall,
    service.start,
    service.stop,
    service.restart,
    service.reload,
    service.enable,
    service.disable,
    service.status,
)
_group(
    "models",
    "List, import, check, remove, load and unload models.",
    models.ls,
    models.show,
    models.rm,
    models.import_,
    models.verify,
    models.prune,
    model_loading.load,
    model_loading.unload,
    bare=models.ls,
)
