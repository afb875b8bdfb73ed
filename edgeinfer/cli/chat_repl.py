"""`edgeinfer chat` without a prompt: a conversation at the terminal."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeinfer.cli import terminal
from edgeinfer.cli.attachments import Attachments
from edgeinfer.cli.chat_parameters import PARAMETERS, ChatParameters, parameter_values, set_parameter
from edgeinfer.cli.chat_session import ChatSession, Message
from edgeinfer.cli.conversation_file import (
    SavedConversation,
    SavedMessage,
    load_conversation,
    save_conversation,
)
from edgeinfer.cli.json_input import json_format, read_json
from edgeinfer.cli.mcp_tools import list_command
from edgeinfer.cli.prompt_loop import PromptLoop
from edgeinfer.cli.slash_commands import SlashCommand
from edgeinfer.cli.text_input import expanded, named_paths, path_values
from edgeinfer.client.listed_models import find_model, listed_models
from edgeinfer.errors import InvalidRequest, ModelNotFound

OFF = ("off", "none")
JSON_OBJECT = {"type": "json_object"}
SYSTEM = ("system", "developer")

MAX_SHOWN = 60
"""Characters of a question that a message repeats."""


class ChatRepl(PromptLoop):
    """A conversation with a model."""

    def __init__(self, session: ChatSession, history: Path | None) -> None:
        super().__init__((*self._commands(), list_command(session.mcp_tools)), history)
        self.session = session
        self.attachments = Attachments(session)
        self._own_files: set[Path] = set()

    def _commands(self) -> Sequence[SlashCommand]:
        return (
            SlashCommand(
                ("/file",), "PATH", "put a text file into the next message", self._file, path_values
            ),
            SlashCommand(("/drop",), "", "take the files out of the next message", self._drop),
            SlashCommand(("/regenerate", "/retry"), "", "answer the last question again", self._regenerate),
            SlashCommand(("/undo",), "", "take back the last question and its answer", self._undo),
            SlashCommand(("/clear", "/new"), "", "forget the conversation so far", self._clear),
            SlashCommand(
                ("/system",), "[TEXT]", "tell the model how to behave; without TEXT: no longer", self._system
            ),
            SlashCommand(
                ("/model",), "[NAME]", "ask another model; alone: list them", self._model, self._names
            ),
            SlashCommand(
                ("/set",),
                "[NAME VALUE]",
                "set temperature, seed …; alone: list them",
                self._set,
                parameter_values,
            ),
            SlashCommand(
                ("/json",),
                "SCHEMA|off",
                "answer in JSON, by a schema or a file with one",
                self._json,
                path_values,
            ),
            SlashCommand(("/save",), "FILE", "write the conversation to a file", self._save, path_values),
            SlashCommand(
                ("/load",), "FILE", "go on with the conversation in a file", self._load, path_values
            ),
        )

    def ask(self, question: str) -> None:
        before = len(self.session.turns)
        try:
            self.session.ask(self.attachments.message(question))
        finally:
            if len(self.session.turns) > before:  # else the files are still to be sent
                self.attachments.files.clear()

    def _file(self, argument: str) -> None:
        for path in named_paths(argument):
            self.attachments.add(path)
        if not self.attachments.files:
            raise InvalidRequest("no file is named", hint="/file PATH")
        terminal.say(self.attachments.summary())

    def _drop(self, _: str) -> None:
        self.attachments.files.clear()
        terminal.say("(the next message has no files)")

    def _regenerate(self, _: str) -> None:
        if self.session.fields.get("seed") is not None:
            terminal.say("(the seed is fixed, so the answer may be the same; to free it: /set seed default)")
        self.session.regenerate()

    def _undo(self, _: str) -> None:
        question = " ".join(str(self.session.undo()[0]["content"]).split())
        terminal.say(f"(taken back: {question[:MAX_SHOWN]}{'…' if len(question) > MAX_SHOWN else ''})")

    def _clear(self, _: str) -> None:
        self.session.turns.clear()
        terminal.say("(conversation cleared)")

    def _system(self, text: str) -> None:
        self.session.system = text or None
        terminal.say("(system prompt set)" if text else "(system prompt removed)")

    def _set(self, text: str) -> None:
        terminal.say(set_parameter(self.session.fields, text))

    def _model(self, name: str) -> None:
        models = listed_models(self.session.client, self.session.target)
        if not name:
            current = find_model(models, self.session.model)
            names = [f"{'*' if model is current else ' '} {model.name}" for model in models]
            terminal.say("\n".join(names) or "(the server does not list its models)")
            return
        known = [word for model in models for word in (model.name, *model.aliases)]
        if known and not {name, name.partition(":")[0]} & set(known):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "/model lists its models"
            raise ModelNotFound(f"the server has no model {name!r}", hint=hint)
        self.session.fields["model"] = name
        terminal.say(f"({name} answers from here on)")

    def _names(self, _: str) -> Iterator[str]:
        yield from (model.name for model in listed_models(self.session.client, self.session.target))

    def _json(self, argument: str) -> None:
        if argument.lower() in OFF:
            self.session.fields.pop("response_format", None)
            terminal.say("(answers are text again)")
            return
        self.session.fields["response_format"] = json_format(_schema(argument)) if argument else JSON_OBJECT
        terminal.say("(answers are JSON; /json off ends that)")

    def _save(self, argument: str) -> None:
        file = _file_named(argument, "/save FILE")
        saved = SavedConversation(
            msgspec.convert(self.session.messages(), list[SavedMessage]),
            self.session.model,
            ChatParameters(**{k: v for k, v in self.session.fields.items() if k in PARAMETERS}),
        )
        save_conversation(file, saved, overwrite=file.absolute() in self._own_files)
        self._own_files.add(file.absolute())
        terminal.say(f"(saved {len(saved.messages)} messages to {file})")

    def _load(self, argument: str) -> None:
        file = _file_named(argument, "/load FILE")
        saved = load_conversation(file)
        messages: list[Message] = msgspec.to_builtins(saved.messages)
        self.session.turns = [message for message in messages if message["role"] not in SYSTEM]
        texts = [message["content"] for message in messages if message["role"] in SYSTEM]
        self.session.system = "\n\n".join(filter(None, texts)) or None
        self.session.fields.update(msgspec.to_builtins(saved.parameters))
        self._own_files.add(file.absolute())
        model = f"; {saved.model} has answered there" if saved.model not in (None, self.session.model) else ""
        terminal.say(f"(loaded {len(messages)} messages from {file}{model})")


def _schema(argument: str) -> Any:
    if not argument.startswith("{"):
        return read_json(expanded(argument))
    try:
        return json.loads(argument)
    except (ValueError, RecursionError) as e:
        raise InvalidRequest(f"the schema is not JSON: {e}") from None


def _file_named(argument: str, usage: str) -> Path:
    if not argument:
        raise InvalidRequest("no file is named", hint=usage)
    return expanded(argument)
