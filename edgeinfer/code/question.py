"""Answers a question about files, a diff or the whole project."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.code import prompts
from edgeinfer.code.assistant import Answer, Assistant
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.repository_map import repository_map
from edgeinfer.code.text_file import TextFile

MAP_SHARE = 0.25
MAP_SHARE_ALONE = 0.7
"""Of the context that is left, with files and without any."""


def answer_question(
    session: CodeSession,
    assistant: Assistant,
    question: str,
    files: Sequence[TextFile] = (),
    *,
    extra: tuple[str, str] | None = None,
    with_map: bool = True,
) -> Answer:
    """Show the model's answer as it comes.

    Args:
        extra: the title of another text, a diff or what was piped, and the text.
        with_map: the files of the project are listed too.
    """
    budget = assistant.budget()
    budget.add("question", prompts.ANSWER + question)
    texts = [(file.name, file.text) for file in files]
    pieces = budget.add_fitting(texts + ([extra] if extra else []))
    last = pieces.pop() if extra else None
    others = [prompts.fenced(f"The {last.name}:", last.text)] if last else []
    share = MAP_SHARE if texts or extra else MAP_SHARE_ALONE
    names = [file.name for file in files]
    project = repository_map(session.workspace, budget, share, names) if with_map else None
    session.say_budget(budget, project.coverage if project else "")
    text = prompts.joined(*prompts.file_texts(pieces), *others, project.prompt() if project else "", question)
    messages = [{"role": "system", "content": prompts.ANSWER}, {"role": "user", "content": text}]
    return assistant.say(messages, budget)
