"""Chooses a quantization of a model: quality first, as long as it is fast enough."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.model_option import QUALITY, RankedOption
from edgeinfer.plan.speed import CALIBRATE, instruction_sets, read_bytes, read_cost

STANDARD_RANK = QUALITY.index("Q4_K_M")
"""The smallest quantization whose loss is hardly noticeable."""

MIN_RANK = QUALITY.index("IQ4_XS")
"""Anything below is only used on request: a smaller model at four bits is better."""

FAST = 50.0
"""Tokens per second above which speed is traded for quality: a model that thinks for a thousand tokens takes 20 s."""

MIN_GAIN = 1.3
"""How many times faster a quantization must be to replace a better one."""


def choose_quant(options: Sequence[RankedOption], profile: HardwareProfile) -> tuple[RankedOption, str]:
    """Choose among the quantizations of one model, and return the reason.

    The best of the fast ones wins. If none is fast, or the speed is unknown, the standard one does, unless one
    that is slightly smaller is much faster.
    """
    ranked = sorted(options, key=lambda option: option.rank)
    fast = [option for option in ranked if option.rank >= STANDARD_RANK and (option.speed or 0) >= FAST]
    if fast:
        return fast[-1], f"quant {fast[-1].option.quant}: the best that still generates {FAST:g} tok/s"
    four_bits = [option for option in ranked if MIN_RANK <= option.rank <= STANDARD_RANK]
    better = [option for option in ranked if option.rank > STANDARD_RANK]
    standard = (four_bits[-1:] or better[:1] or ranked[-1:])[0]
    fastest = max(four_bits, key=lambda option: _gain(option, standard, profile), default=standard)
    gain = _gain(fastest, standard, profile)
    if gain >= MIN_GAIN:
        return (
            fastest,
            f"quant {fastest.option.quant}: {gain:.1f} times as fast here as {standard.option.quant}",
        )
    return standard, f"quant {standard.option.quant}: {_why(standard, ranked)}"


def _gain(candidate: RankedOption, standard: RankedOption, profile: HardwareProfile) -> float:
    """Return how many times as fast the candidate is."""
    if candidate.speed and standard.speed:
        return candidate.speed / standard.speed
    if candidate.plan.llama.gpu_layers or standard.plan.llama.gpu_layers:
        return 1.0
    isa = instruction_sets(profile)
    own, other = (read_cost(read_bytes(c.option.header, 0)[0], isa) for c in (candidate, standard))
    return other / own if own else 1.0


def _why(standard: RankedOption, ranked: Sequence[RankedOption]) -> str:
    better = [c for c in ranked if c.rank > standard.rank]
    if not better:
        return "the best that fits"
    if standard.speed is None:
        return f"a good compromise while the speed is unknown ({CALIBRATE} measures it)"
    return f"better ones, from {better[0].option.quant} up, would generate fewer than {FAST:g} tok/s"
