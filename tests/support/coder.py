"""A daemon whose model follows a script, for the code assistant's tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from edgeinfer.client.http import Target, connect
from edgeinfer.code.assistant import Assistant
from edgeinfer.inference.types import FimTokens, ModelInfo, Span
from tests.support.screens import ScriptedScreen
from tests.support.server import INFO, Scripted, serving

TEMPLATE = (
    "{%- if tools %}<tool_call>{{ tools | tojson }}</tool_call>{% endif -%}"
    "{%- for m in messages %}[{{ m.role }}]{{ m.content }}{{ m.tool_calls or '' }}\n{% endfor -%}"
    "{%- if add_generation_prompt %}[assistant]{% endif %}"
)

CODER = msgspec.structs.replace(
    INFO, chat_templates={"default": TEMPLATE}, n_ctx_train=32768, ctx=32768, n_embd=4, fim=FimTokens(1, 2, 3)
)
"""A token is a byte, so the context has to be large."""


class Coder(Scripted):
    """Gives one answer after the other, and then the last one again."""

    def __init__(self, *answers: str, info: ModelInfo = CODER) -> None:
        super().__init__(answers[0], info=info)
        self.answers = list(answers)
        self.before_first = self._next

    def _next(self) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.pieces = (answer,)

    def prompt(self, number: int) -> str:
        """What it was asked, in its template."""
        return "".join(span.text for span in self.requests[number][0] if isinstance(span, Span))


@contextmanager
def coding(
    *answers: str, info: ModelInfo = CODER, ctx: int = 32768
) -> Iterator[tuple[Coder, dict[str, str]]]:
    """Serve a script; yields the model, and the environment in which the command finds it."""
    coder = Coder(*answers, info=msgspec.structs.replace(info, ctx=ctx))
    with serving(coder) as served:
        yield coder, {"EDGEINFER_PORT": str(served.port)}


@contextmanager
def assisting(*answers: str, ctx: int = 32768) -> Iterator[tuple[Coder, Assistant, ScriptedScreen]]:
    """The assistant itself with a script, and without the command around it."""
    screen = ScriptedScreen()
    with coding(*answers, ctx=ctx) as (coder, env):
        target = Target(f"http://127.0.0.1:{env['EDGEINFER_PORT']}")
        with connect(target) as client:
            yield coder, Assistant(client, target, screen, model=None), screen


def whole(**files: str) -> str:
    """An answer with the whole content of files; `a_py` stands for a.py."""
    contents = [
        {"file": name.replace("__", "/").replace("_py", ".py"), "content": text}
        for name, text in files.items()
    ]
    return json.dumps({"explanation": "As it should be.", "files": contents})


def blocks(*edits: tuple[str, str, str]) -> str:
    """An answer with edits: file, old and new."""
    found = [{"file": file, "old": old, "new": new} for file, old, new in edits]
    return json.dumps({"explanation": "As it should be.", "edits": found})


def call(name: str, **arguments: Any) -> str:
    """A call of a tool, as the template has it."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"
