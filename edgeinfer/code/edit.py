"""Edits as a model writes them, and the changes of files that they amount to: all of them, or none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

import msgspec

from edgeinfer.code.file_change import FileChange, file_change
from edgeinfer.code.text_file import TextFile
from edgeinfer.errors import EdgeinferError

MAX_SHOWN = 8
"""Lines of the file that an error about an edit repeats, for the model to try again."""


MAX_COMPARED, MAX_LINE = 2000, 300
"""Lines that are compared with what an edit names, and characters of such a line: it takes time."""


class Edit(msgspec.Struct, frozen=True):
    """Replaces a passage, which must occur exactly once; an empty `old` makes a new file of `new`."""

    file: str
    old: str
    new: str


class WholeFile(msgspec.Struct, frozen=True):
    """Replaces all of a file."""

    file: str
    content: str


def apply_edits(edits: Sequence[Edit], read: Callable[[str], TextFile]) -> list[FileChange]:
    """Return what the edits change, one after the other; nothing is written.

    Args:
        read: returns a file by its name, one without data if it does not exist.

    Raises:
        EdgeinferError: an edit does not apply exactly; the message tells the model why.
    """
    files: dict[str, TextFile] = {}
    texts: dict[str, str] = {}
    for number, edit in enumerate(edits, 1):
        file = files.setdefault(edit.file, read(edit.file))
        text = texts.get(edit.file, file.text)
        try:
            texts[edit.file] = _applied(edit, text, exists=file.data is not None or edit.file in texts)
        except EdgeinferError as e:
            which = f"edit {number} of {len(edits)}" if len(edits) > 1 else "the edit"
            raise EdgeinferError(f"{which}, of {edit.file}: {e.message}") from e
    return _changes(files, texts)


def apply_whole_files(answers: Sequence[WholeFile], read: Callable[[str], TextFile]) -> list[FileChange]:
    """Return what whole new contents change; the last line ends as it did. Raises EdgeinferError."""
    files: dict[str, TextFile] = {}
    texts: dict[str, str] = {}
    for answer in answers:
        if answer.file in texts:
            raise EdgeinferError(f"{answer.file} is there twice")
        file = files.setdefault(answer.file, read(answer.file))
        content = answer.content.removesuffix("\n")
        has_newline = file.text.endswith("\n") or not file.text
        texts[answer.file] = content + "\n" if has_newline and content else content
    return _changes(files, texts)


def _applied(edit: Edit, text: str, *, exists: bool) -> str:
    if not edit.old:
        if exists and text:
            raise EdgeinferError("`old` is empty, but the file exists: repeat the lines to replace")
        return edit.new if edit.new.endswith("\n") or not edit.new else edit.new + "\n"
    if not exists:
        raise EdgeinferError("there is no such file: to make it, leave `old` empty")
    place = text.find(edit.old)
    if place < 0:
        raise EdgeinferError(f"`old` does not occur in it{_nearest(edit.old, text)}")
    if text.find(edit.old, place + 1) >= 0:
        raise EdgeinferError("`old` occurs more than once: take more lines around it, so that it is unique")
    return text[:place] + edit.new + text[place + len(edit.old) :]


def _nearest(old: str, text: str) -> str:
    """Say which lines the model may have meant."""
    lines = text.split("\n")
    wanted = next((line for line in old.split("\n") if line.strip()), "")
    comparable = [line for line in lines[:MAX_COMPARED] if len(line) <= MAX_LINE]
    close = difflib.get_close_matches(wanted[:MAX_LINE], comparable, n=1, cutoff=0.6)
    if not close:
        return ""
    first = lines.index(close[0])
    passage = "\n".join(lines[first : first + min(MAX_SHOWN, old.count("\n") + 1)])
    return f"; similar lines are:\n{passage}"


def _changes(files: dict[str, TextFile], texts: dict[str, str]) -> list[FileChange]:
    changes = [file_change(files[name], text) for name, text in texts.items()]
    changes = [change for change in changes if change.before != change.after]
    if not changes:
        raise EdgeinferError("the edits change nothing")
    return changes
