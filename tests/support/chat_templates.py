"""The chat templates that llama.cpp tests with: those of sixty families of models.

They are not ours to distribute, so they are taken from the source of llama-cpp-python, in the version that is
pinned, and kept in the cache. `python -m tests.support.chat_templates` prints the table of docs/models.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from edgeinfer.chat.template_limits import template_limits
from edgeinfer.chat.tools.detect import detect_tool_format
from tests.support.paths import ROOT
from tests.support.templates import detect

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeinfer/chat-templates"
MEMBER = re.compile(r"[^/]+/vendor/llama\.cpp/models/templates/([\w.-]+)\.jinja")


def chat_templates() -> dict[str, str]:
    """The sources by their names. Raises subprocess.CalledProcessError if they cannot be downloaded."""
    requirement = _requirement()
    folder = CACHE / requirement.split()[0].partition("==")[2]
    if not folder.is_dir():
        _fetch(requirement, folder)
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.jinja"))}


def _requirement() -> str:
    """The pinned version of llama-cpp-python, with its hashes."""
    pins = (ROOT / "requirements/base.txt").read_text()
    match = re.search(r"^llama-cpp-python==(?:.*\\\n)*.*\n", pins, re.M)
    assert match
    return match[0]


def _fetch(requirement: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        work = Path(temporary)
        (work / "requirements.txt").write_text(requirement)
        options = ["--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(work)]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "-q", *options, "-r", str(work / "requirements.txt")],
            check=True,
            timeout=300,
        )
        (work / "templates").mkdir()
        with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
            for member in archive:
                if (match := MEMBER.fullmatch(member.name)) and (file := archive.extractfile(member)):
                    (work / "templates" / f"{match[1]}.jinja").write_bytes(file.read())
        if not folder.is_dir():  # another process may have been faster
            (work / "templates").rename(folder)


def row(name: str, source: str) -> str:
    """The row of a template in docs/models.md."""
    tool_format = detect_tool_format(source)
    limits = template_limits(source, detect(source, tool_format))
    calls = "" if tool_format.foreign else f"`{tool_format.name}`"
    return f"| {name} | {calls} | {', '.join(limits)} |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{row(name, source)}\n" for name, source in chat_templates().items())
