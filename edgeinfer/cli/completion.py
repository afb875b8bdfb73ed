"""`edgeinfer completion`: commands, options and names completed by the shell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from edgeinfer.cli.option_values import choice

SHELLS = ("bash", "zsh", "fish")


def completion(
    shell: Annotated[
        str | None, typer.Argument(**choice(SHELLS), help="The shell. Default: the one in $SHELL.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write the script to where the shell looks for it.")
    ] = False,
) -> None:
    """Let the shell complete commands, options, models and apps.

    Without --install, it prints the script for the shell.

    Examples:
      edgeinfer completion --install       for the shell that you use
      source <(edgeinfer completion bash)  for this terminal only
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cli.completion_scripts import SCRIPTS

    name = shell or _own_shell()
    if install:
        install_script(name)
    else:
        terminal.write(SCRIPTS[name])


def install_script(shell: str | None = None) -> None:
    """Write a shell's script into the user's folder, and say what is left to do. No file of the user's is changed."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.completion_scripts import SCRIPTS, user_file

    name = shell or _own_shell()
    file = user_file(name)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SCRIPTS[name])
    terminal.say(f"wrote {file}")
    if name == "bash":
        terminal.say(f"Open a new terminal. If Tab completes nothing there, add to ~/.bashrc: source {file}")
    elif name == "zsh":
        terminal.say(
            f"Add to ~/.zshrc, above compinit if that is called there: fpath+=({file.parent})\n"
            "and if it is not: autoload -Uz compinit && compinit"
        )
    else:
        terminal.say("Open a new terminal.")


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name in SHELLS:
        return name
    raise typer.BadParameter(
        f"say which shell: {', '.join(SHELLS)}" + (f" ($SHELL is {name})" if name else "")
    )
