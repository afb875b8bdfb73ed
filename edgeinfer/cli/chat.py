"""`edgeinfer chat`: one answer, or a conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.common_options import NoHistory
from edgeinfer.cli.mcp_tools import McpFile, NoMcp
from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    import httpx

    from edgeinfer.cli.chat_session import ChatSession
    from edgeinfer.client.http import Target
    from edgeinfer.mcp.tool_calls import ToolCalls


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
            metavar="FILE",
            help="JSON file of tools the model may call, in OpenAI's format. Each call is printed on a line.",
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON file with a schema; the answer is JSON that matches it."),
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
    mcp_config: McpFile = None,
    no_mcp: NoMcp = False,
    no_history: NoHistory = False,
    json: Annotated[bool, typer.Option("--json", help="Print the whole answer object as JSON.")] = False,
) -> None:
    """Ask a model a question, or have a conversation with it.

    If no daemon is running, chat starts one of its own and stops it when it ends.

    Examples:
      edgeinfer chat                            a conversation; /help explains
      edgeinfer chat "Why is the sky blue?"     one answer
      git log -1 | edgeinfer chat "What is it?" about standard input
      edgeinfer chat --model ~/model.gguf "Hi"  any GGUF file
      edgeinfer chat --tools t.json "Light on"  print tool calls, one per line
    """
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.cli.answering_daemon import open_daemon
    from edgeinfer.cli.chat_session import ChatSession
    from edgeinfer.cli.json_input import json_format
    from edgeinfer.cli.mcp_tools import ask_user, open_mcp_tools
    from edgeinfer.client.http import connect, resolve_target

    for output in (sys.stdout, sys.stderr):
        if hasattr(output, "reconfigure"):
            output.reconfigure(errors="replace")  # an answer may hold what this terminal cannot show
    question = _question(prompt)
    if question is None and (json or tools or schema):
        raise typer.BadParameter("--json, --tools and --schema need a prompt")
    if mcp_config and (json or tools or schema):
        raise typer.BadParameter(
            "it goes with none of --json, --tools and --schema", param_hint="--mcp-config"
        )
    fields = {
        "temperature": temperature,
        "max_tokens": max_tokens,
        "seed": seed,
        "tools": _read_json(tools, "--tools") if tools else None,
        "response_format": json_format(_read_json(schema, "--schema")) if schema else None,
    }
    with (
        open_daemon(resolve_target(url, api_key), model, "this chat") as (target, name),
        connect(target) as client,
        # For a single question, servers are started only if they are named: starting them takes longer than most answers.
        open_mcp_tools(
            mcp_config, ask_user, wanted=not no_mcp and bool(mcp_config or question is None)
        ) as mcp_tools,
    ):
        fields = {key: value for key, value in {"model": name, **fields}.items() if value is not None}
        session = ChatSession(client, target, fields, terminal.replace_invalid(system) if system else None)
        session.mcp_tools = mcp_tools
        if mcp_tools:
            _keep_fitting(session, mcp_tools)
        if question is None:
            _converse(session, keep_history=not no_history)
        elif json:
            session.print_json(question)
        else:
            session.ask(question)


def _keep_fitting(session: ChatSession, mcp_tools: ToolCalls) -> None:
    """Leave out the MCP servers whose tools would fill the model's context."""
    from edgeinfer.cli.mcp_tools import SHARE
    from edgeinfer.client.listed_models import find_model, listed_models
    from edgeinfer.client.token_counter import TokenCounter

    name = session.model or _default_model(session.client, session.target)
    model = find_model(listed_models(session.client, session.target), name)
    if model and model.context:
        counter = TokenCounter(session.client, session.target)
        mcp_tools.keep_fitting(lambda text: counter.count(text, session.model), model.context // SHARE)


def _converse(session: ChatSession, *, keep_history: bool) -> None:
    from edgeinfer.cli import terminal
    from edgeinfer.cli.chat_repl import ChatRepl
    from edgeinfer.cli.prompt_reader import history_file

    session.default_model = _default_model(session.client, session.target)
    repl = ChatRepl(session, history_file("chat", keep=keep_history))
    greeting = f"This is {session.model}. " if session.model else ""
    terminal.say(f"{greeting}Type /help for a list of commands, Ctrl-D to leave.")
    repl.run()


def _read_json(path: Path, option: str) -> Any:
    from edgeinfer.cli.json_input import read_json
    from edgeinfer.errors import InvalidRequest

    try:
        return read_json(path)
    except InvalidRequest as e:
        raise typer.BadParameter(e.message, param_hint=option) from None


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


def _default_model(client: httpx.Client, target: Target) -> str | None:
    """Return the model that answers if none is named, if the server tells."""
    from edgeinfer.client.status import get_status
    from edgeinfer.errors import EdgeinferError

    try:
        models = get_status(client, target).models
    except EdgeinferError:  # another program's server
        return None
    return next((model.name for model in models if model.default), None)
