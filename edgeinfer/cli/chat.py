"""`edgeinfer chat`: ask once, or talk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeinfer.client.http import Target


def chat(
    prompt: Annotated[
        str | None, typer.Argument(help="What to ask. Nothing: talk, or read it from a pipe.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="Tell the model how to behave.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A model the daemon serves, or a GGUF file to load just for this.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0 always takes the likeliest word; more is more varied.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Stop after so many tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer.")] = None,
    tools: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file with the tools it may call, as OpenAI has them. A call is printed as a line."
        ),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A JSON file with a schema: the answer is JSON that keeps to it.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Another server. Default: the daemon of this machine's settings.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Its key. EDGEINFER_API_KEY is better: other users can see the options of a process."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the whole answer object, in one piece.")
    ] = False,
) -> None:
    """Ask a model something, or talk with it.

    Where no daemon runs, chat starts one of its own and stops it at the end.

    Examples:
      edgeinfer chat                                   talk; /help tells more
      edgeinfer chat "Why is the sky blue?"            one answer, then leave
      git diff | edgeinfer chat "Review this change"   prompt and standard input together
      edgeinfer chat --model ~/qwen3-0.6b.gguf "Hi"    any GGUF file
      edgeinfer chat --tools tools.json "Light on"     what it calls, a line each
    """
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.cli.conversation import Conversation, Options
    from edgeinfer.cli.repl import Repl
    from edgeinfer.client.http import connect, find

    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")  # an answer may hold what this terminal cannot show
    question = _question(prompt)
    if question is None and (json or tools or schema):
        raise typer.BadParameter("--json, --tools and --schema need a prompt")
    form = _read(schema, "--schema") if schema else None
    response_format = (
        {"type": "json_schema", "json_schema": {"name": "answer", "schema": form}} if schema else None
    )
    offered = _read(tools, "--tools") if tools else None
    with _daemon(find(url, api_key), model) as (target, name), connect(target) as client:
        options = Options(name, temperature, max_tokens, seed, offered, response_format)
        conversation = Conversation(client, target, options, terminal.valid(system) if system else None)
        if question is None:
            terminal.say("/help tells what can be typed, Ctrl-D leaves.")
            Repl(conversation).run()
        elif json:
            conversation.json(question)
        else:
            conversation.ask(question)


def _read(path: Path, option: str) -> Any:
    import json

    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as e:
        raise typer.BadParameter(f"{path}: {e}", param_hint=option) from e


def _question(prompt: str | None) -> str | None:
    """The prompt and what was piped in; None: there is nothing to ask yet, and somebody at the keyboard."""
    import sys

    from edgeinfer.cli import terminal

    if sys.stdin.isatty():
        return terminal.valid(prompt) if prompt else None
    piped = sys.stdin.buffer.read().decode(errors="replace")
    parts = [terminal.valid(prompt or ""), piped]
    question = "\n\n".join(part for part in parts if part.strip())
    if not question:
        raise typer.BadParameter("nothing to ask: no prompt, and nothing on standard input")
    return question


@contextmanager
def _daemon(target: Target, model: str | None) -> Iterator[tuple[Target, str | None]]:
    """The daemon to ask, and the model's name there: ours for this chat where none runs, or for a file."""
    from pathlib import Path

    from edgeinfer.cli import terminal
    from edgeinfer.cli.private import private_daemon

    file = model is not None and Path(model).is_file()
    if target.named or (not file and _runs(target)):
        yield target, model
        return
    terminal.remark("(starting a daemon for this chat)")
    with private_daemon(model, target.load_timeout) as mine:
        yield mine, None


def _runs(target: Target) -> bool:
    """Whether a daemon is there; waits while it loads its model."""
    import time

    from edgeinfer.cli import terminal
    from edgeinfer.client.http import connect, is_ready
    from edgeinfer.errors import NotReady

    deadline = time.monotonic() + target.load_timeout
    with connect(target) as client:
        try:
            if is_ready(client, target):
                return True
            terminal.remark("(waiting for the daemon to load its model)")
            while time.monotonic() < deadline and not is_ready(client, target):
                time.sleep(0.5)
        except NotReady:
            return False
    return True  # and if it is still not ready, its own answer says so best
