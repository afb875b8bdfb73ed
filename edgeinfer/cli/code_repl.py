"""`edgeinfer code` without a command: a conversation about a project, at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgeinfer.cli import terminal
from edgeinfer.cli.prompt_loop import PromptLoop, edit_lines, is_misspelt
from edgeinfer.code.code_session import CodeSession, UserStopped
from edgeinfer.code.conversation import Conversation
from edgeinfer.user_folders import state_folder

HELP = '''\
/add FILE …     show these files to the model with every question
/drop FILE …    no longer; without FILE: none of them
/files          list them
/diff           show what has changed since the last commit
/undo           take back the last change
/clear          forget the conversation so far
/exit           leave (also Ctrl-D)
"""             begin a text of several lines; end it with """ too
Ctrl-C          stop the answer or the command; twice at the prompt: leave'''

COMMANDS = ("/add", "/drop", "/files", "/diff", "/undo", "/clear", "/exit", "/quit", "/help")
MAX_HISTORY = 1000


class CodeRepl(PromptLoop):
    """A conversation about a project."""

    warning = "(stopped; press Ctrl-C again, or Ctrl-D, to leave)"

    def __init__(self, session: CodeSession, conversation: Conversation) -> None:
        super().__init__()
        self.session = session
        self.conversation = conversation

    def run(self) -> None:
        with _history():
            super().run()

    def handle(self, line: str) -> bool:
        try:
            return self._obey(line)
        except UserStopped:
            terminal.say("(stopped)")
        return True

    def _obey(self, line: str) -> bool:
        command, _, rest = line.strip().partition(" ")
        paths = rest.split()
        match command:
            case "":
                pass
            case "/exit" | "/quit":
                return False
            case "/help" | "/?":
                terminal.say(HELP)
            case "/add":
                for file in self.session.read(paths):
                    self._add(file.name)
            case "/drop":
                self._drop(paths)
            case "/files":
                terminal.say("\n".join(self.conversation.paths) or "(none; /add FILE adds one)")
            case "/diff":
                self._diff()
            case "/undo":
                undo(self.session)
            case "/clear":
                self.conversation.turns.clear()
                terminal.say("(conversation cleared)")
            case _ if is_misspelt(command, rest, COMMANDS):
                terminal.say(f"no such command: {command} (/help lists them)")
            case _:
                self.conversation.ask(line)
        return True

    def _add(self, name: str) -> None:
        if name not in self.conversation.paths:
            self.conversation.paths.append(name)
        terminal.say(f"(added {name})")

    def _drop(self, paths: list[str]) -> None:
        names = [self.session.workspace.name(path, new=True) for path in paths] or list(
            self.conversation.paths
        )
        self.conversation.paths = [name for name in self.conversation.paths if name not in names]

    def _diff(self) -> None:
        from edgeinfer.code.change_review import reviewed_diff
        from edgeinfer.code.visible import visible

        diff = reviewed_diff(self.session.workspace, (), staged=False, revisions=None)
        self.session.screen.diff(map(visible, diff.rstrip("\n").split("\n")))


def undo(session: CodeSession) -> None:
    """Take back the last change, and say what was done."""
    for change in session.journal.undo():
        terminal.say(f"{'removed' if change.after is None else 'put back'} {change.name}")


@contextmanager
def _history() -> Iterator[None]:
    """Edit lines with readline for the time of the block, with the questions of earlier conversations."""
    try:
        import readline
    except ImportError:
        yield
        return
    edit_lines()
    file = state_folder() / "code" / "history"
    with suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        readline.set_history_length(MAX_HISTORY)
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            readline.write_history_file(file)
            file.chmod(0o600)
