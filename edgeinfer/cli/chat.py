"""`edgeinfer chat`: one answer, or a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    import httpx

    from edgeinfer.client.http import Target


def chat(
    prompt: Annotated[
        str | None,
        typer.Argument(help="The question. Default: standard input if that is a pipe, else a conversation."),
    ] = None,
    system: Annotated[str | None, typer.Option(help="Tell the model how to behave.")] = None,
    model: Annotated[
        str | None, typer.Option(help="A model that the daemon serves, or a GGUF file to load for this chat.")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            **number(float, ge=0),
            help="0 always picks the likeliest token; higher is more varied.",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(**number(int, ge=1), help="Stop after this many tokens."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(**number(int), help="Random seed; repeating it repeats the answer."),
    ] = None,
    tools: Annotated[
        Path | None,
        typer.Option(
            help="JSON file of tools the model may call, in OpenAI's format. Each call is printed on a line."
        ),
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="JSON file with a schema; the answer is JSON that matches it.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Address of another server. Default: this machine's daemon.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="API key of that server. Prefer EDGEINFER_API_KEY: other users can see a process's options."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the whole answer object as JSON.")] = False,
) -> None:
    """Ask a model a question, or have a conversation with it.

    If no daemon is running, chat starts one of its own and stops it when it ends.

    Examples:
      edgeinfer chat                                   have a conversation; /help lists the commands
      edgeinfer chat "Why is the sky blue?"            get one answer, then leave
      git log -1 | edgeinfer chat "What has changed?"  combine the prompt with standard input
      edgeinfer chat --model ~/qwen3-0.6b.gguf "Hi"    use any GGUF file
      edgeinfer chat --tools tools.json "Light on"     print tool calls, one per line
    """
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.cli.answering_daemon import open_daemon
    from edgeinfer.cli.chat_session import ChatOptions, ChatSession
    from edgeinfer.cli.repl import Repl
    from edgeinfer.client.http import connect, resolve_target

    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")  # an answer may hold what this terminal cannot show
    question = _question(prompt)
    if question is None and (json or tools or schema):
        raise typer.BadParameter("--json, --tools and --schema need a prompt")
    json_schema = {"name": "answer", "schema": _read_json(schema, "--schema")} if schema else None
    response_format = {"type": "json_schema", "json_schema": json_schema} if json_schema else None
    tool_list = _read_json(tools, "--tools") if tools else None
    with (
        open_daemon(resolve_target(url, api_key), model, "this chat") as (target, name),
        connect(target) as client,
    ):
        options = ChatOptions(name, temperature, max_tokens, seed, tool_list, response_format)
        session = ChatSession(client, target, options, terminal.replace_invalid(system) if system else None)
        if question is None:
            terminal.say(
                f"{_greeting(client, target, name)}Type /help for a list of commands, Ctrl-D to leave."
            )
            Repl(session).run()
        elif json:
            session.print_json(question)
        else:
            session.ask(question)


def _read_json(path: Path, option: str) -> Any:
    import json

    try:
        return json.loads(path.read_bytes())  # in any UTF, with or without a byte order mark
    except OSError as e:
        problem = e.strerror or str(e)
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except RecursionError:
        problem = "the JSON is nested too deeply"
    except ValueError as e:
        problem = f"it is not JSON: {e}"
    raise typer.BadParameter(f"{path}: {problem}", param_hint=option)


def _question(prompt: str | None) -> str | None:
    """Return the prompt joined with piped input; None at a keyboard without a prompt."""
    import sys

    from edgeinfer.cli import terminal

    if sys.stdin.isatty():
        return terminal.replace_invalid(prompt) if prompt else None
    piped = terminal.decoded(sys.stdin.buffer.read())
    parts = [terminal.replace_invalid(prompt or ""), piped]
    question = "\n\n".join(part for part in parts if part.strip())
    if not question:
        raise typer.BadParameter("there is no prompt, and standard input is empty")
    return question


def _greeting(client: httpx.Client, target: Target, name: str | None) -> str:
    """Name the model that answers, if the server tells."""
    from edgeinfer.client.status import get_status
    from edgeinfer.errors import EdgeinferError

    try:
        models = get_status(client, target).models
    except EdgeinferError:  # another program's server
        return f"This is {name}. " if name else ""
    default = next((model.name for model in models if model.default), None)
    model = name or default
    return f"This is {model}. " if model else ""
