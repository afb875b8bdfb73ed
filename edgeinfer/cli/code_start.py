"""What the commands of the code assistant begin with: the project, and a model that answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edgeinfer.code.assistant import Assistant
    from edgeinfer.code.code_session import CodeSession

BETTER = "Models that do: edgeinfer install --auto-quant --code"


def open_session(
    *, yes: bool = False, dry_run: bool = False, confined: bool = True, instead: str = ""
) -> CodeSession:
    """Open the project around the current folder.

    Args:
        instead: what to do where the command's question cannot be asked; empty if it asks none. That is said at once,
            and not after a small board has computed for minutes.
    """
    import sys

    from edgeinfer.cli.code_screen import TerminalScreen
    from edgeinfer.code.code_session import CodeSession
    from edgeinfer.code.sandbox import Sandbox
    from edgeinfer.code.workspace import Workspace
    from edgeinfer.errors import EdgeinferError

    if instead and not (yes or dry_run or (sys.stdin.isatty() and sys.stderr.isatty())):
        raise EdgeinferError(
            "before something is written you are asked, and this is not a terminal", hint=instead
        )
    workspace, screen = Workspace(Path.cwd()), TerminalScreen(dry_run=dry_run)
    sandbox = None if confined else Sandbox("none", str(workspace.root))
    return CodeSession(workspace, screen, yes=yes, dry_run=dry_run, sandbox=sandbox)


@contextmanager
def open_assistant(
    session: CodeSession,
    model: str | None,
    url: str | None,
    api_key: str | None,
    *,
    fills: bool = False,
) -> Iterator[Assistant]:
    """The assistant, who speaks with the daemon; one is started if none is running."""
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.cli.answering_daemon import open_daemon
    from edgeinfer.cli.pasteable import pasteable
    from edgeinfer.client.http import connect, resolve_target
    from edgeinfer.code.assistant import Assistant
    from edgeinfer.code.code_session import UserStopped
    from edgeinfer.store.lookup import BUNDLED_MODEL

    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")  # an answer may hold what this terminal cannot show
    try:
        with (
            open_daemon(resolve_target(url, api_key), model, "this command") as (target, name),
            connect(target) as client,
        ):
            assistant = Assistant(client, target, session.screen, model=name, fills=fills)
            if assistant.model.name.startswith(BUNDLED_MODEL):
                terminal.say(pasteable(f"({BUNDLED_MODEL} knows no code. {BETTER})"))
            yield assistant
    except UserStopped:
        terminal.say("(stopped)")
        raise typer.Exit(1) from None


@contextmanager
def only_if_running(url: str | None, api_key: str | None, wanted: bool) -> Iterator[None]:
    """If that is wanted, leave the command without an error where no daemon answers, or where something fails."""
    from edgeinfer.cli import terminal
    from edgeinfer.client.http import connect, is_ready, resolve_target
    from edgeinfer.errors import EdgeinferError, NotReady

    if not wanted:
        yield
        return
    target = resolve_target(url, api_key)
    try:
        with connect(target) as client:
            if not is_ready(client, target):
                raise NotReady("the daemon is loading its model")
        yield
    except NotReady as e:
        terminal.say(f"({e.message}: nothing is done)")
        raise typer.Exit from None
    except EdgeinferError as e:
        terminal.report_error(e)
        raise typer.Exit from None
