"""Fill-in-the-middle prompts: the model continues the middle between a prefix and a suffix.

The layout is llama.cpp's: the extra files as those of a repository, then prefix, suffix and middle. The middle
comes last, so that everything else stays in the cache while somebody types it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from edgeinfer.errors import ContextLengthExceeded
from edgeinfer.inference.types import FimTokens, Prompt, Span, Tokens

PROJECT, FILE = "myproject\n", "filename\n"
"""llama.cpp's names for what its callers do not name."""

SNIPPET = "\n\n--- snippet ---\n\n"
"""Precedes an extra file where the model has no token for that, as in llama.cpp."""

FRAME_TOKENS = 32
"""Tokens that are reserved for two names, BOS and five control tokens; these take fewer."""

NEEDS_FIM = "models made for code can, such as Qwen2.5-Coder"


class FimParts(NamedTuple):
    """The parts of a prompt. `middle` is the beginning of what the model writes, `extra` are other files."""

    prefix: Prompt
    suffix: Prompt
    middle: Prompt = ()
    extra: Sequence[Prompt] = ()


def untrusted_text(text: str) -> Prompt:
    """A caller's text, in which no control token is recognised."""
    return [Span(text, trusted=False)]


def extra_file_text(fim: FimTokens, filename: str, content: str) -> str:
    """The text of an extra file in the prompt, without the token before it."""
    return SNIPPET + content if fim.file is None else f"{filename}\n{content}"


def fim_prompt(fim: FimTokens, parts: FimParts) -> Prompt:
    """The prompt. It begins with an empty text, since engines put BOS before text but not before tokens."""
    return [*untrusted_text(""), *_repository(fim, parts.extra), *_infill(fim, parts)]


def _infill(fim: FimTokens, parts: FimParts) -> Prompt:
    return [fim.prefix, *parts.prefix, fim.suffix, *parts.suffix, fim.middle, *parts.middle]


def _repository(fim: FimTokens, extra: Sequence[Prompt]) -> Iterator[Span | int]:
    if not extra:
        return
    if fim.repo is not None:
        yield from (fim.repo, *untrusted_text(PROJECT))
    before = () if fim.file is None else (fim.file,)
    yield from chain.from_iterable((*before, *file) for file in extra)
    if fim.file is not None:
        yield from (fim.file, *untrusted_text(FILE))


def surely_fits(texts: Sequence[str], room: int) -> bool:
    """True if the texts certainly fit into `room` tokens, since a token is at least one byte.

    A tokenizer may put a space before a text, and each file has a token before it.
    """
    return FRAME_TOKENS + sum(2 + len(t.encode("utf-8", "surrogatepass")) for t in texts) <= room


def fit_parts(
    prefix: Tokens, suffix: Tokens, middle: Tokens, extra: Sequence[Tokens], room: int
) -> tuple[FimParts, bool]:
    """The parts cut down to `room` tokens, and whether anything was cut.

    Extra files are dropped first, beginning with the first of them. Then the prefix loses lines from its
    beginning and the suffix from its end; the prefix has three quarters of the room, and each may use what the
    other leaves.

    Raises:
        ContextLengthExceeded: there is no room for `middle`, which cannot be cut.
    """
    left = room - FRAME_TOKENS - len(middle.ids)
    if left < 0:
        raise ContextLengthExceeded(
            f"prompt has {len(middle.ids)} tokens, but there is room for {max(0, room - FRAME_TOKENS)}",
            param="prompt",
        )
    for_suffix = max(left // 4, left - len(prefix.ids))
    after = _head(suffix, for_suffix)
    before = _tail(prefix, left - len(after))
    spare = left - len(before) - len(after)
    lines_cut = len(before) + len(after) < len(prefix.ids) + len(suffix.ids)
    files = [] if lines_cut else _last(extra, spare)
    return FimParts(before, after, middle.ids, files), lines_cut or len(files) < len(extra)


def _last(extra: Sequence[Tokens], room: int) -> Sequence[Prompt]:
    at = len(extra)
    while at and len(extra[at - 1].ids) < room:
        at -= 1
        room -= 1 + len(extra[at].ids)
    return [file.ids for file in extra[at:]]


def _tail(text: Tokens, room: int) -> list[int]:
    """The last lines of `text` that fit into `room` tokens."""
    least = max(0, len(text.ids) - room)
    most = least + room // 2  # else a single long line would cost all the others
    return text.ids[next((at for at in range(least, most) if _begins_line(text, at)), least) :]


def _head(text: Tokens, room: int) -> list[int]:
    """The first lines of `text` that fit into `room` tokens."""
    most = min(room, len(text.ids))
    least = most - room // 2
    return text.ids[: next((at for at in range(most, least, -1) if _begins_line(text, at)), most)]


def _begins_line(text: Tokens, at: int) -> bool:
    """True if a line begins at this token, or inside it after a line break; both ends of the text count."""
    if at in (0, len(text.pieces)):
        return True
    before, piece = text.pieces[at - 1], text.pieces[at]
    return before.endswith(b"\n") or (piece.startswith(b"\n") and not piece.endswith(b"\n"))
