"""Which quantization of a model: quality first, as long as it is fast enough."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.model_option import QUALITY, RankedOption
from edgeinfer.plan.speed import CALIBRATE, cost_of, instruction_sets, read_bytes

STANDARD = QUALITY.index("Q4_K_M")
"""The coarsest whose loss is hardly noticed."""

WORST = QUALITY.index("IQ4_XS")
"""What is coarser is never taken unasked: a smaller model at four bits is better."""

BRISK = 50.0
"""Tokens a second. A model that thinks writes a thousand tokens before its answer, which takes 20 s then. As long as
it is as fast as this, speed is spent on quality."""

WORTH = 1.3
"""How much faster a quantization must be to be taken instead of a better one."""


def quantization(offered: Sequence[RankedOption], profile: HardwareProfile) -> tuple[RankedOption, str]:
    """The one to take of those of a model that may be taken, and why.

    The best that is brisk. Where none is, or the speed is not known: the standard, or what is coarser by little and
    faster by much.
    """
    ranked = sorted(offered, key=lambda c: c.rank)
    brisk = [c for c in ranked if c.rank >= STANDARD and (c.speed or 0) >= BRISK]
    if brisk:
        return brisk[-1], f"quant {brisk[-1].offer.quant}: the best that still writes {BRISK:g} tok/s"
    plain = [c for c in ranked if WORST <= c.rank <= STANDARD]
    finer = [c for c in ranked if c.rank > STANDARD]
    standard = (plain[-1:] or finer[:1] or ranked[-1:])[0]
    quick = max(plain, key=lambda c: _gain(c, standard, profile), default=standard)
    gain = _gain(quick, standard, profile)
    if gain >= WORTH:
        return quick, f"quant {quick.offer.quant}: {gain:.1f} times as fast here as {standard.offer.quant}"
    return standard, f"quant {standard.offer.quant}: {_why(standard, ranked)}"


def _gain(candidate: RankedOption, standard: RankedOption, profile: HardwareProfile) -> float:
    """How many times faster it writes."""
    if candidate.speed and standard.speed:
        return candidate.speed / standard.speed
    if candidate.plan.config.gpu_layers or standard.plan.config.gpu_layers:
        return 1.0
    isa = instruction_sets(profile)
    own, other = (cost_of(read_bytes(c.offer.header, 0)[0], isa) for c in (candidate, standard))
    return other / own if own else 1.0


def _why(standard: RankedOption, ranked: Sequence[RankedOption]) -> str:
    better = [c for c in ranked if c.rank > standard.rank]
    if not better:
        return "the best that fits"
    if standard.speed is None:
        return f"a good compromise where the speed is not known ({CALIBRATE} measures it)"
    return f"better ones, from {better[0].offer.quant} on, would write less than {BRISK:g} tok/s"
