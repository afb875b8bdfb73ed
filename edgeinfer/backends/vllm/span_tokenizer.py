"""Makes tokens of prompts. Only a trusted text becomes a control token, and it does so here, not in vLLM."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection

from edgeinfer.inference.types import Prompt, Span
from edgeinfer.safetensors.folder import TokenizerFacts

Encode = Callable[[str], Awaitable[list[int]]]
"""Tokens of a text; those that the encoder knows as special ones are found in it."""

MAX_CACHED = 1024
MAX_CACHED_TEXT = 200
"""Texts of templates are short, and come again in each prompt."""

NOTHING = re.compile("(?!)")


class SpanTokenizer:
    """Tokenizes spans one by one, as llama.cpp does, so that the tokens of one do not depend on its neighbours."""

    def __init__(self, facts: TokenizerFacts, special: Collection[str], encode: Encode) -> None:
        """`special`: the control tokens that `encode` finds by itself."""
        self._added = facts.vocabulary.added
        self._special_ids = frozenset(self._added[text] for text in special)
        self._bos = self._added.get(facts.bos) if facts.add_bos else None
        self._encode = encode
        self._control, self._special = _pattern(self._added), _pattern(special)
        self._cache: OrderedDict[str, list[int]] = OrderedDict()

    async def tokens(self, prompt: Prompt, *, add_bos: bool) -> list[int]:
        """The tokens of a prompt."""
        parts = await asyncio.gather(*(self._part(part) for part in prompt))
        tokens = [token for part in parts for token in part]
        if add_bos and self._bos is not None and tokens[:1] != [self._bos]:
            tokens.insert(0, self._bos)
        return tokens

    async def _part(self, part: Span | int) -> list[int]:
        if isinstance(part, int):
            return [part]
        text = part.text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        if not part.trusted:
            return await self._plain(text)
        tokens, at = list[int](), 0
        for match in self._control.finditer(text):
            tokens += [*await self._of_template(text[at : match.start()]), self._added[match[0]]]
            at = match.end()
        return tokens + await self._of_template(text[at:])

    async def _of_template(self, text: str) -> list[int]:
        """Tokens of a text that probably comes again."""
        if len(text) > MAX_CACHED_TEXT:
            return await self._plain(text)
        if text not in self._cache:
            self._cache[text] = await self._plain(text)
            if len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        self._cache.move_to_end(text)
        return self._cache[text]

    async def _plain(self, text: str) -> list[int]:
        """Tokens of a text, cut where a part of it would otherwise become a control token."""
        pieces, start = list[str](), 0
        while match := self._special.search(text, start):
            pieces.append(text[start : match.start() + 1])
            start = match.start() + 1
        tokens = [token for piece in (*pieces, text[start:]) if piece for token in await self._encode(piece)]
        if self._special_ids.isdisjoint(tokens):
            return tokens
        # A normalizer has made one of letters that look alike. A single letter is none.
        return [t for letter in text for t in await self._encode(letter) if t not in self._special_ids]


def _pattern(texts: Collection[str]) -> re.Pattern[str]:
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else NOTHING
