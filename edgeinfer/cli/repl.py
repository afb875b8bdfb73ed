"""`edgeinfer chat` without a prompt: a conversation at the terminal."""

from __future__ import annotations

from edgeinfer.cli import terminal
from edgeinfer.cli.chat_session import ChatSession
from edgeinfer.cli.prompt_loop import PromptLoop, edit_lines, is_misspelt

HELP = '''\
"""             begin a text of several lines; end it with """ too
/clear          forget the conversation so far
/system TEXT    tell the model how to behave; without TEXT: remove that instruction
/exit           leave (also Ctrl-D)
/help           show this list
Ctrl-C          stop the answer; twice at the prompt: leave'''

COMMANDS = ("/clear", "/system", "/exit", "/quit", "/bye", "/help")


class Repl(PromptLoop):
    """A conversation with a model."""

    def __init__(self, session: ChatSession) -> None:
        super().__init__()
        self.session = session

    def run(self) -> None:
        edit_lines()
        super().run()

    def handle(self, line: str) -> bool:
        command, _, rest = line.strip().partition(" ")
        match command:
            case "":
                pass
            case "/exit" | "/quit" | "/bye":
                return False
            case "/help" | "/?":
                terminal.say(HELP)
            case "/clear":
                self.session.turns.clear()
                terminal.say("(conversation cleared)")
            case "/system":
                self.session.system = rest.strip() or None
                terminal.say("(system prompt set)" if self.session.system else "(system prompt removed)")
            case _ if is_misspelt(command, rest, COMMANDS):
                terminal.say(f"no such command: {command} (/help lists them)")
            case _:
                self.session.ask(line)
        return True
