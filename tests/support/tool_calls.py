"""Calls of the code assistant's tools, as a model makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeinfer.code.assistant import ModelCall
from edgeinfer.code.code_session import CodeSession
from edgeinfer.code.tools import Tools
from edgeinfer.code.workspace import Workspace
from tests.support.screens import ScriptedScreen

MAX_RESULT = 6000


def calls(
    folder: Path, *made: tuple[str, dict[str, Any]], answers: str = "", yes: bool = False
) -> tuple[list[str], str]:
    """The results of calls, and what was shown."""
    screen = ScriptedScreen(answers)
    tools = Tools(CodeSession(Workspace(folder), screen, yes=yes), MAX_RESULT)
    results = tools.results([ModelCall(name, json.dumps(arguments)) for name, arguments in made])
    assert screen.answers == []
    return results, screen.text


def edit(file: str, old: str, new: str) -> tuple[str, dict[str, Any]]:
    return "edit", {"file": file, "old": old, "new": new}
