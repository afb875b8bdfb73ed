"""A prompt with a hole in it, as models learn to fill one: what precedes it, what follows it, its content.

The layout is llama.cpp's: the extra files as those of a repository, then prefix, suffix, middle. What the
hole's content begins with stands last, so that who types it has all else in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from edgeinfer.errors import ContextLengthExceeded
from edgeinfer.inference.types import FimTokens, Prompt, Span, Tokens

PROJECT, FILE = "myproject\n", "filename\n"
"""Names that llama.cpp gives what its callers do not name."""

SNIPPET = "\n\n--- snippet ---\n\n"
"""What stands before an extra file where the model has no token for that; llama.cpp's too."""

FRAME = 32
"""Tokens for what stands around the texts; it takes fewer: two names, BOS, and five control tokens."""

NEEDS_FIM = "models made for code can, such as Qwen2.5-Coder"


class Hole(NamedTuple):
    """`prefix` and `suffix` surround the hole, `middle` is the beginning of its content, `extra` other files."""

    prefix: Prompt
    suffix: Prompt
    middle: Prompt = ()
    extra: Sequence[Prompt] = ()


def untrusted(given: str) -> Prompt:
    """A caller's text, in which no control token is recognised."""
    return [Span(given, trusted=False)]


def extra_text(fim: FimTokens, filename: str, content: str) -> str:
    """An extra file as it stands in the prompt, less the token before it."""
    return SNIPPET + content if fim.file is None else f"{filename}\n{content}"


def layout(fim: FimTokens, hole: Hole) -> Prompt:
    """The prompt. It begins with an empty text, as a worker puts BOS before text and not before tokens."""
    return [*untrusted(""), *_repository(fim, hole.extra), *_infill(fim, hole)]


def _infill(fim: FimTokens, hole: Hole) -> Prompt:
    return [fim.prefix, *hole.prefix, fim.suffix, *hole.suffix, fim.middle, *hole.middle]


def _repository(fim: FimTokens, extra: Sequence[Prompt]) -> Iterator[Span | int]:
    if not extra:
        return
    if fim.repo is not None:
        yield from (fim.repo, *untrusted(PROJECT))
    before = () if fim.file is None else (fim.file,)
    yield from chain.from_iterable((*before, *file) for file in extra)
    if fim.file is not None:
        yield from (fim.file, *untrusted(FILE))


def surely_fits(texts: Sequence[str], room: int) -> bool:
    """Whether a hole of these texts needs no counting: a token is at least a byte, most are several.

    A tokenizer may put a space before a text, and each file has a token before it.
    """
    return FRAME + sum(2 + len(t.encode("utf-8", "surrogatepass")) for t in texts) <= room


def fitted(
    prefix: Tokens, suffix: Tokens, middle: Tokens, extra: Sequence[Tokens], room: int
) -> tuple[Hole, bool]:
    """As much of a hole as `room` tokens hold, and whether that is less than all.

    Extra files go first, the first of them before the others. Then the prefix loses lines from its beginning
    and the suffix from its end; the prefix has three quarters of the room, and each what the other leaves.

    Raises:
        ContextLengthExceeded: there is no room for `middle`, which cannot be cut.
    """
    left = room - FRAME - len(middle.ids)
    if left < 0:
        raise ContextLengthExceeded(
            f"prompt has {len(middle.ids)} tokens, and {max(0, room - FRAME)} are left for it",
            param="prompt",
            hint="shorten prompt or n_predict, or serve with a larger --ctx where the model allows",
        )
    for_suffix = max(left // 4, left - len(prefix.ids))
    after = _head(suffix, for_suffix)
    before = _tail(prefix, left - len(after))
    spare = left - len(before) - len(after)
    lines_cut = len(before) + len(after) < len(prefix.ids) + len(suffix.ids)
    files = [] if lines_cut else _last(extra, spare)
    return Hole(before, after, middle.ids, files), lines_cut or len(files) < len(extra)


def _last(extra: Sequence[Tokens], room: int) -> Sequence[Prompt]:
    at = len(extra)
    while at and len(extra[at - 1].ids) < room:
        at -= 1
        room -= 1 + len(extra[at].ids)
    return [file.ids for file in extra[at:]]


def _tail(text: Tokens, room: int) -> list[int]:
    """The last lines of `text` that `room` holds."""
    least = max(0, len(text.ids) - room)
    most = least + room // 2  # else a single long line would cost all the others
    return text.ids[next((at for at in range(least, most) if _begins_line(text, at)), least) :]


def _head(text: Tokens, room: int) -> list[int]:
    """The first lines of `text` that `room` holds."""
    most = min(room, len(text.ids))
    least = most - room // 2
    return text.ids[: next((at for at in range(most, least, -1) if _begins_line(text, at)), most)]


def _begins_line(text: Tokens, at: int) -> bool:
    """Whether a line begins at a token, or inside it after a line break; the text's own borders count."""
    if at in (0, len(text.pieces)):
        return True
    before, piece = text.pieces[at - 1], text.pieces[at]
    return before.endswith(b"\n") or (piece.startswith(b"\n") and not piece.endswith(b"\n"))
