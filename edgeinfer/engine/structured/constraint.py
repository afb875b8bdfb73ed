"""Enforces grammars token by token with llguidance. No other file of the engine imports it.

Tokens are sampled first and checked afterwards. The token sampled without a grammar is usually valid, and checking
one takes 1 us, where a mask over 152k tokens takes 50 us to 2 ms. Only when the check fails is a mask
computed and the draw repeated under it, which gives the same distribution as masking at once. A constraint that
has just refused a token is likely to refuse the next one too: its mask is computed during the decode
(see `wants_mask`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeinfer.allocator import return_freed_memory
from edgeinfer.engine.backend import Row
from edgeinfer.engine.structured.tokenizer import TextTokenizer
from edgeinfer.errors import ConstraintFailed, InvalidRequest, UnsupportedParameter
from edgeinfer.grammar.limits import PARSER_LIMITS

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_PENALTIES = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"), 0.0, -np.inf
).astype(np.float32)
"""For each byte of a mask, the values to add to its eight logits. The fastest way in numpy to apply a mask."""


class Constraint:
    """Tracks one answer's position in its grammar."""

    PREFETCH_STREAK = 8
    """Number of tokens in a row that must be valid unmasked before masks are no longer prefetched."""

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher = matcher
        self._mask = np.zeros((vocab_size + 31) // 32 * 4, np.uint8)
        self._mask_is_current = False
        self._valid_streak = self.PREFETCH_STREAK

    def copy(self) -> Constraint:
        """An independent constraint at the same position."""
        return Constraint(self._matcher.deep_copy(), len(self._mask) * 8)

    @property
    def wants_mask(self) -> bool:
        """A mask is likely to be needed at this position, and is not computed yet."""
        return self._valid_streak < self.PREFETCH_STREAK and not self._mask_is_current

    @property
    def accepting(self) -> bool:
        """The answer may end here."""
        return bool(self._matcher.is_accepting())

    @property
    def stopped(self) -> bool:
        """The answer must end here: nothing can follow."""
        return bool(self._matcher.is_stopped() and not self._matcher.is_error())

    def compute_mask(self) -> None:
        """Compute the mask for this position. May be called from any thread, one at a time; releases the GIL."""
        if not self._mask_is_current:
            self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
            if self._matcher.is_error():  # a limit was exceeded; llguidance's mask then allows an end
                self._mask[:] = 0
            self._mask_is_current = True

    def allows(self, token: int) -> bool:
        if self._mask_is_current:
            allowed = bool(self._mask[token >> 3] >> (token & 7) & 1)
        else:
            allowed = self._matcher.validate_tokens([token]) == 1
        self._valid_streak = self._valid_streak + 1 if allowed else 0
        return allowed

    def allows_all(self, tokens: list[int]) -> bool:
        """All of `tokens` may come next, in this order."""
        return bool(self._matcher.validate_tokens(tokens) == len(tokens))

    def apply_mask(self, row: Row) -> None:
        """Set the logits of all tokens that cannot come next to -inf. Raises ConstraintFailed."""
        row += np.take(_PENALTIES, self.mask_bits(), axis=0).reshape(-1)[: len(row)]

    def mask_bits(self) -> npt.NDArray[np.uint8]:
        """The mask, one bit per token, lowest first. Raises ConstraintFailed if no token is allowed."""
        self.compute_mask()
        if not self._mask.any():
            self._fail()
        return self._mask

    def accept(self, token: int) -> None:
        """Advance past `token`. Raises ConstraintFailed if the grammar does not allow it."""
        self._mask_is_current = False
        if not self._matcher.consume_token(token):
            self._fail()

    def forced_tokens(self) -> list[int]:
        """Tokens that must come next, regardless of the logits. They are not accepted yet."""
        tokens: list[int] = self._matcher.compute_ff_tokens()
        return tokens

    def _fail(self) -> None:
        reason = self._matcher.get_error().partition("\n")[0][:200] or self._matcher.stop_reason()
        raise ConstraintFailed(f"the answer could not be kept to its grammar: {reason}")


class ConstraintCompiler:
    """Compiles grammars for one vocabulary. Used by one thread at a time.

    Compiled grammars are not cached. Copies of a matcher share the states of its lexer and their limit, so one
    answer would use up what another needs, and a grammar in steady use would fail for good. A schema compiles
    in 1 to 3 ms.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ll_tokenizer: LLTokenizer | None = None

    def compile(self, grammar: str) -> Constraint:
        """A constraint at the beginning of `grammar`, which is in llguidance's format.

        Raises:
            UnsupportedParameter: llguidance is not installed.
            InvalidRequest: the grammar is invalid or exceeds the limits.
        """
        tokenizer = self.load()
        from llguidance import LLMatcher, LLParserLimits

        limits: dict[str, Any] = PARSER_LIMITS
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=LLParserLimits(**limits))
        if matcher.is_error():
            raise InvalidRequest(f"the grammar cannot be used: {matcher.get_error()[:500]}")
        return Constraint(matcher, self._tokenizer.vocab.size)

    def load(self) -> LLTokenizer:
        """llguidance's tokenizer, built on the first call: 25 MB and half a second for 152k tokens on a PC.

        Raises:
            UnsupportedParameter: llguidance is not installed.
        """
        if self._ll_tokenizer is None:
            try:
                from llguidance import LLTokenizer, TokenizerWrapper
            except ImportError as e:
                raise UnsupportedParameter(
                    f"constrained answers need llguidance, which is not installed: {e}",
                    hint="edgeinfer doctor says how to get it on this system",
                ) from e
            adapter = _TokenizerAdapter(self._tokenizer)
            # Slices would make some masks faster, and cost 40 MB at 152k tokens.
            wrapper = TokenizerWrapper(adapter)
            self._ll_tokenizer = LLTokenizer(wrapper, eos_token=adapter.ends, slices=[])
            wrapper.tokens = adapter.tokens = []  # it has copies, and keeps the wrapper
            return_freed_memory()
        return self._ll_tokenizer


class _TokenizerAdapter:
    """Presents a vocabulary in the form that llguidance takes. Markers are ordinary text, end tokens never are.

    Where a vocabulary has no end token, its BOS (or first) token serves as one.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        vocab = tokenizer.vocab
        self._tokenizer = tokenizer
        pieces = vocab.pieces()
        self.tokens = [piece or vocab.piece(t, special=True) for t, piece in enumerate(pieces)]
        self.ends = [t for t in range(vocab.size) if vocab.is_end(t)] or [vocab.bos or 0]
        ends = set(self.ends)
        self.special_token_ids = [t for t, piece in enumerate(pieces) if t in ends or not piece]
        self.eos_token_id = self.ends[0]
        self.bos_token_id = vocab.bos

    def __call__(self, data: bytes) -> list[int]:
        return self._tokenizer.encode(data.decode("utf-8", "replace"))
