"""Writes the message for a commit from what is staged."""

from __future__ import annotations

import subprocess
import textwrap
from typing import Any

import msgspec

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Assistant
from edgeinfer.code.code_session import CodeSession, UserStopped
from edgeinfer.code.visible import visible
from edgeinfer.errors import EdgeinferError

MAX_SUBJECT = 72
MAX_BODY = 600
WIDTH = 72

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "subject": {"type": "string", "minLength": 1, "maxLength": MAX_SUBJECT},
        "body": {"type": "string", "maxLength": MAX_BODY},
    },
    "required": ["subject", "body"],
    "additionalProperties": False,
}


class CommitMessage(msgspec.Struct, frozen=True):
    """What the model writes."""

    subject: str
    body: str


def commit_message(session: CodeSession, assistant: Assistant, diff: str) -> str:
    """Return a message for a change: a subject, and a wrapped body unless the subject says it all."""
    budget = assistant.budget(400)
    budget.add("question", prompts.COMMIT)
    (piece,) = budget.add_fitting([("diff", diff)])
    session.say_budget(budget)
    messages = [
        {"role": "system", "content": prompts.ANSWER},
        {
            "role": "user",
            "content": prompts.joined(prompts.fenced("The diff:", piece.text), prompts.COMMIT),
        },
    ]
    answer = assistant.fill_in(messages, budget, SCHEMA, CommitMessage)
    subject = " ".join(answer.subject.split())
    paragraphs = [textwrap.fill(line, WIDTH) for line in answer.body.split("\n")]
    return visible(f"{subject}\n\n{chr(10).join(paragraphs)}".strip()) + "\n"


def commit(session: CodeSession, message: str) -> bool:
    """Show a message, ask, and commit with it; tell whether that has happened."""
    if not message.strip():
        raise EdgeinferError("the message is empty")
    while True:
        session.screen.output(f"{message}\n")
        if session.dry_run:
            return False
        answer = "y" if session.yes else session.screen.ask("Commit with this message?", "yneq")
        if answer == "y":
            done = subprocess.run(
                ["git", "commit", "--quiet", "-F", "-"], input=message.encode(), check=False
            )
            return done.returncode == 0
        if answer == "q":
            raise UserStopped
        if answer == "n":
            return False
        message = session.screen.edit(message, "COMMIT_EDITMSG")
