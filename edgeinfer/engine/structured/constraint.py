"""Grammars enforced token by token, by llguidance. The only file of the engine that knows it.

Sample first, then check: the token that would be taken without a grammar is the right one more often than
not, and to check one takes 1 us where a mask over 152k tokens takes 50 us to 2 ms. Only where the check fails is a
mask computed and the draw repeated under it, which gives the same distribution as masking at once. A
constraint that has just refused a token is likely to refuse the next: its mask is computed while the model
is, see `wants_mask`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeinfer.engine.backend import Row
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import ConstraintFailed, InvalidRequest, UnsupportedParameter
from edgeinfer.grammar.limits import PARSER_LIMITS

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_PENALTY = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 0.0, -np.inf
).astype(np.float32)
"""A byte of a mask -> what to add to its eight logits. By far the fastest way in numpy to apply a mask."""


class Constraint:
    """One answer's place in its grammar."""

    PATIENCE = 8
    """Tokens that must pass unmasked before masks are no longer computed in advance."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((vocab_size + 31) // 32 * 4, np.uint8)
        self._masked = False  # `_mask` belongs to this place
        self._passed = self.PATIENCE

    def copy(self) -> Constraint:
        """Another answer to the same request, at the same place."""
        return Constraint(self._matcher.deep_copy(), len(self._mask) * 8)

    @property
    def wants_mask(self) -> bool:
        """A mask is likely to be wanted at this place: see `prepare`."""
        return self._passed < self.PATIENCE and not self._masked

    @property
    def accepting(self) -> bool:
        """The answer may end here."""
        return bool(self._matcher.is_accepting())

    @property
    def stopped(self) -> bool:
        """The answer must end here: nothing can follow."""
        return bool(self._matcher.is_stopped() and not self._matcher.is_error())

    def prepare(self) -> None:
        """Compute the mask for this place. From any thread, one at a time; it runs without the GIL."""
        if not self._masked:
            self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
            if self._matcher.is_error():  # a limit was exceeded; llguidance's mask then allows an end
                self._mask[:] = 0
            self._masked = True

    def allows(self, token: int) -> bool:
        if self._masked:
            allowed = bool(self._mask[token >> 3] >> (token & 7) & 1)
        else:
            allowed = self._matcher.validate_tokens([token]) == 1
        self._passed = self._passed + 1 if allowed else 0
        return allowed

    def takes(self, tokens: list[int]) -> bool:
        """All of `tokens` may come next, one after the other."""
        return bool(self._matcher.validate_tokens(tokens) == len(tokens))

    def mask(self, row: Row) -> None:
        """Set the logits of all tokens that cannot come next to -inf. Raises ConstraintFailed."""
        row += np.take(_PENALTY, self.bits(), axis=0).reshape(-1)[: len(row)]

    def bits(self) -> npt.NDArray[np.uint8]:
        """The mask, a bit a token, lowest first. Raises ConstraintFailed where nothing is allowed."""
        self.prepare()
        if not self._mask.any():
            self._fail()
        return self._mask

    def accept(self, token: int) -> None:
        """`token` is part of the answer. Raises ConstraintFailed if it cannot be."""
        self._masked = False
        if not self._matcher.consume_token(token):
            self._fail()

    def forced(self) -> list[int]:
        """Tokens that must follow now, whatever the model thinks; they are still to be accepted."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        return tokens

    def _fail(self) -> None:
        reason = self._matcher.get_error().partition("\n")[0][:200] or self._matcher.stop_reason()
        raise ConstraintFailed(f"the answer could not be kept to its grammar: {reason}")


class ConstraintCompiler:
    """Compiles grammars for one vocabulary. One thread at a time.

    None is kept for the next request: copies of a matcher share the states of its lexer, and their limit. What
    one answer used up another would miss, and a grammar in steady use would fail for good. A schema takes 1 to 3 ms.
    """

    def __init__(self, words: TextTokenizer) -> None:
        self._words = words
        self._tokenizer: LLTokenizer | None = None

    def constraint(self, text: str) -> Constraint:
        """At the beginning of the grammar `text`, which is llguidance's.

        Raises:
            UnsupportedParameter: llguidance is not installed.
            InvalidRequest: it is no grammar, or exceeds the limits.
        """
        tokenizer = self.load()
        from llguidance import LLMatcher, LLParserLimits

        limits: dict[str, Any] = PARSER_LIMITS
        matcher = LLMatcher(tokenizer, text, log_level=0, limits=LLParserLimits(**limits))
        if matcher.is_error():
            raise InvalidRequest(f"the grammar cannot be used: {matcher.get_error()[:500]}")
        return Constraint(matcher, self._words.vocab.size)

    def load(self) -> LLTokenizer:
        """The tokenizer, built at the first call: half a second for 152k tokens on a PC.

        Raises:
            UnsupportedParameter: llguidance is not installed.
        """
        if self._tokenizer is None:
            try:
                from llguidance import LLTokenizer, TokenizerWrapper
            except ImportError as e:
                raise UnsupportedParameter(
                    f"constrained answers need llguidance, which is not installed: {e}",
                    hint="it has wheels for x86-64 and 64-bit ARM",
                ) from e
            listing = _Listing(self._words)
            # Slices would make some masks faster, and cost 40 MB at 152k tokens.
            self._tokenizer = LLTokenizer(TokenizerWrapper(listing), eos_token=listing.ends, slices=[])
        return self._tokenizer


class _Listing:
    """A vocabulary in the form that llguidance takes. Markers are text like any other, ends never are.

    Where a vocabulary has no end, its BOS (or first) token serves as one.
    """

    def __init__(self, words: TextTokenizer) -> None:
        vocab = words.vocab
        self._words = words
        self.tokens = [vocab.piece(t) or vocab.piece(t, special=True) for t in range(vocab.size)]
        self.ends = [t for t in range(vocab.size) if vocab.is_end(t)] or [vocab.bos or 0]
        ends = set(self.ends)
        self.special_token_ids = [t for t in range(vocab.size) if t in ends or not vocab.piece(t)]
        self.eos_token_id = self.ends[0]
        self.bos_token_id = vocab.bos

    def __call__(self, data: bytes) -> list[int]:
        return self._words.encode(data.decode("utf-8", "replace"))
