"""Every app that can be connected."""

from __future__ import annotations

import difflib

from edgeinfer.connect.app import App
from edgeinfer.connect.by_hand import BY_HAND
from edgeinfer.connect.editors import EDITORS
from edgeinfer.connect.terminal_apps import TERMINAL_APPS
from edgeinfer.errors import NotFound

APPS = {app.name: app for app in (*TERMINAL_APPS, *EDITORS, *BY_HAND)}

OTHER_NAMES = {"claude": "claude-code", "vscode": "llama.vscode", "vim": "llama.vim", "nvim": "llama.vim"}


def find(name: str) -> App:
    """Return an app by its name. Raises NotFound if there is none, with the name that was meant."""
    key = name.lower().replace(" ", "-").replace("_", "-")
    key = OTHER_NAMES.get(key, key)
    if app := APPS.get(key) or APPS.get(key.replace("-", ".")):
        return app
    close = difflib.get_close_matches(key, [*APPS, *OTHER_NAMES], n=1, cutoff=0.5)
    hint = (
        f"did you mean {OTHER_NAMES.get(close[0], close[0])!r}?" if close else "edgeinfer connect lists them"
    )
    raise NotFound(f"no app called {name!r} is known", hint=hint)
