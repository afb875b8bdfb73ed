"""`edgeinfer code`: the code assistant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeinfer.cli.code_start import only_if_running, open_assistant, open_session
from edgeinfer.cli.common_options import ApiKey, NoHistory, Url
from edgeinfer.cli.mcp_tools import McpFile, NoMcp
from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    from edgeinfer.code.code_session import CodeSession

WITHOUT_TERMINAL = "--dry-run only shows changes; --yes writes them, and runs the command of --run"

Files = Annotated[list[str], typer.Argument(metavar="FILE", help="Files of the project.")]
Model = Annotated[
    str | None,
    typer.Option(help="A model that the daemon serves, or a GGUF file. Default: the one that suits."),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask before writing what is shown, or running what you typed."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the changes as a diff, and write nothing.")]
IfRunning = Annotated[
    bool, typer.Option("--if-running", help="Do nothing unless a daemon is running; for git hooks.")
]


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files that it is about.")] = None,
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Ask about files, the whole project, or what is piped in.

    Examples:
      edgeinfer code ask "Where are settings read?"
      edgeinfer code ask "Is this safe with two threads?" cache.py
      make 2>&1 | edgeinfer code ask "Why does this fail?" Makefile
    """
    from edgeinfer.code.question import answer_question

    session = open_session()
    texts, piped = session.read(files or ()), _piped()
    extra = ("standard input", piped) if piped.strip() else None
    with open_assistant(session, model, url, api_key) as assistant:
        answer_question(session, assistant, question, texts, extra=extra)


def explain(files: Files, model: Model = None, url: Url = None, api_key: ApiKey = None) -> None:
    """Explain what some files do and how."""
    from edgeinfer.code import prompts
    from edgeinfer.code.question import answer_question

    session = open_session()
    texts = session.read(files)
    with open_assistant(session, model, url, api_key) as assistant:
        answer_question(session, assistant, prompts.EXPLAIN, texts)


def fix(
    files: Files,
    run: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="A command that fails; mend the files until it succeeds."),
    ] = None,
    what: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What is wrong, or what to change.")
    ] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Do not confine the command, for tests that need a network.")
    ] = False,
    rounds: Annotated[
        int, typer.Option(**number(int, ge=1, le=20), help="How often to try, with the command.")
    ] = 3,
    yes: Yes = False,
    dry_run: DryRun = False,
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Mend or change files, after showing how.

    Every change is shown as a diff first and written when you say so: all of it or none. The command is run
    in a sandbox, without a network, where the machine has one. `edgeinfer code undo` takes a change back.

    Examples:
      edgeinfer code fix --run "pytest -q" src/cart.py      until it succeeds
      edgeinfer code fix --what "close the file" reader.py  as you say
    """
    from edgeinfer.code.repair import Repair

    session = open_session(yes=yes, dry_run=dry_run, confined=not no_sandbox, instead=WITHOUT_TERMINAL)
    session.read_to_change(files)  # which says what cannot be, before a model is loaded
    with open_assistant(session, model, url, api_key) as assistant:
        done = Repair(session, assistant, files, what, run).run(rounds)
    _exit(done or dry_run)


def review(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Only these files.")] = None,
    staged: Annotated[bool, typer.Option("--staged", help="Only what `git add` has staged.")] = False,
    range: Annotated[
        str | None, typer.Option(metavar="REVISIONS", help="What git calls a range, such as main..HEAD.")
    ] = None,
    if_running: IfRunning = False,
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Review a change: by default, everything that is not committed yet."""
    from edgeinfer.code.change_review import review as review_diff
    from edgeinfer.code.change_review import reviewed_diff

    session = open_session()
    with only_if_running(url, api_key, if_running):
        diff = reviewed_diff(session.workspace, files or (), staged=staged, revisions=range)
        with open_assistant(session, model, url, api_key) as assistant:
            review_diff(session, assistant, diff)


def test(
    files: Files,
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where to write the tests. Default: as the language has it."),
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write tests for some files, after showing them."""
    from edgeinfer.code.test_writing import write_tests

    session = open_session(yes=yes, dry_run=dry_run, instead=WITHOUT_TERMINAL)
    with open_assistant(session, model, url, api_key) as assistant:
        done = write_tests(session, assistant, files, out)
    _exit(done or dry_run)


def commit(
    print_: Annotated[bool, typer.Option("--print", help="Print the message, and commit nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Commit without asking.")] = False,
    if_running: IfRunning = False,
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write a message for what is staged, and commit it."""
    from edgeinfer.cli import terminal
    from edgeinfer.code.change_review import staged_diff
    from edgeinfer.code.commit_message import commit as commit_with
    from edgeinfer.code.commit_message import commit_message
    from edgeinfer.errors import EdgeinferError

    session = open_session(
        yes=yes, instead="" if print_ else "--print prints the message; --yes commits with it"
    )
    with only_if_running(url, api_key, if_running):
        diff = staged_diff(session.workspace)
        if not diff.strip():
            raise EdgeinferError("nothing is staged", hint="git add FILE")
        with open_assistant(session, model, url, api_key) as assistant:
            message = commit_message(session, assistant, diff)
            if print_:
                terminal.write(message)
                return
            done = commit_with(session, message)
    _exit(done)


def complete(
    place: Annotated[
        str, typer.Argument(metavar="FILE:LINE[:COLUMN]", help="Where to write; both count from 1.")
    ],
    insert: Annotated[
        bool, typer.Option("--insert", help="Write it into the file, after showing it.")
    ] = False,
    max_tokens: Annotated[
        int, typer.Option(**number(int, ge=1, le=4096), help="Stop after this many tokens.")
    ] = 128,
    yes: Yes = False,
    dry_run: DryRun = False,
    model: Model = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Complete the code at a place in a file.

    Without a column, that is the end of the line.
    It takes a model that was made for this, such as qwen2.5-coder-1.5b, if one is installed.
    """
    from edgeinfer.cli import terminal
    from edgeinfer.code.gap import CodeGap, parse_place

    session = open_session(yes=yes, dry_run=dry_run, instead=WITHOUT_TERMINAL if insert else "")
    gap = CodeGap(session, parse_place(place))
    with open_assistant(session, model, url, api_key, fills=True) as assistant:
        text = gap.text(assistant, max_tokens)
        if not (insert or dry_run):
            terminal.write(text + ("" if text.endswith("\n") else "\n"))
            return
        done = gap.insert(text)
    _exit(done or dry_run)


def undo(
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Leave the files as they are; the next undo is about the change before."
        ),
    ] = False,
) -> None:
    """Take back the last change; repeated, the one before."""
    from edgeinfer.cli import terminal
    from edgeinfer.cli.code_repl import undo as undo_last

    session = open_session()
    if forget:
        names = ", ".join(change.name for change in session.journal.forget())
        terminal.say(f"forgot a change of {names}")
    else:
        undo_last(session)


def hook(
    action: Annotated[str, typer.Argument(metavar="install|uninstall", help="What to do with it.")],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, also where other repositories get the hook too.")
    ] = False,
) -> None:
    """Install a git hook that begins commit messages, or remove it.

    It asks the daemon only while one is running, and keeps a hook that is there already. Where git's hooks are not in
    the repository's own folder, because core.hooksPath names another, you are asked first.
    """
    import shutil
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.code.commit_hook import CommitHook

    if action not in ("install", "uninstall"):
        raise typer.BadParameter("it must be install or uninstall", param_hint="action")
    session = open_session()
    commit_hook = CommitHook(session.workspace)
    if action == "install":
        if not yes and (warning := commit_hook.warning()):
            _confirm(session, f"{warning} Install it?", hint="edgeinfer code hook install --yes")
        program = shutil.which("edgeinfer") or str(Path(sys.prefix, "bin/edgeinfer"))
        terminal.say(f"wrote {commit_hook.install(program)}")
    else:
        terminal.say(f"removed {commit_hook.uninstall()}")


def talk(
    model: Model = None,
    mcp_config: McpFile = None,
    no_mcp: NoMcp = False,
    no_history: NoHistory = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Have a conversation about the project.

    `edgeinfer code` without a command does the same.

    The model can read and search files, and propose changes and commands. It sees no file outside of the project
    and none that .gitignore hides. You see each change and each command, and say whether it may be; likewise each
    call of a tool of an MCP server, and first of all what the project's own .mcp.json would start.
    """
    import sys

    from edgeinfer.cli import terminal
    from edgeinfer.cli.code_repl import CodeRepl
    from edgeinfer.cli.mcp_tools import SHARE, open_mcp_tools
    from edgeinfer.cli.prompt_reader import history_file
    from edgeinfer.code.conversation import Conversation

    if not sys.stdin.isatty():
        raise typer.BadParameter("a conversation needs a terminal; for a single question: edgeinfer code ask")
    session, file = open_session(), history_file("code", keep=not no_history)
    root = session.workspace.root
    with (
        open_assistant(session, model, url, api_key) as assistant,
        open_mcp_tools(mcp_config, session.screen.ask, wanted=not no_mcp, project=root) as mcp_tools,
    ):
        if mcp_tools:
            mcp_tools.keep_fitting(assistant.count, assistant.model.context // SHARE)
        terminal.say(f"This is {assistant.model.name}, in {root}. Type /help for a list of commands.")
        CodeRepl(session, Conversation(session, assistant, mcp_tools), file, mcp_tools).run()


def _piped() -> str:
    """Return what is piped in; nothing at a keyboard."""
    import sys

    from edgeinfer.cli import terminal

    return "" if sys.stdin.isatty() else terminal.decoded(sys.stdin.buffer.read())


def _confirm(session: CodeSession, question: str, *, hint: str) -> None:
    """Ask, and leave the command unless the answer is yes."""
    import sys

    from edgeinfer.errors import EdgeinferError

    if not sys.stdin.isatty():
        raise EdgeinferError(f"{question} Nobody can be asked: this is not a terminal", hint=hint)
    if session.screen.ask(question, "yn") != "y":
        raise typer.Exit(1)


def _exit(done: bool) -> None:
    if not done:
        raise typer.Exit(1)
