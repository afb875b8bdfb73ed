"""Says whether an answer depends on what is computed beside it, and what it takes that it does not."""

from __future__ import annotations

from msgspec.structs import replace

from edgeinfer.backends.llama_cpp.config import LlamaConfig
from edgeinfer.errors import SettingsError
from edgeinfer.gguf.header import Header
from edgeinfer.hardware import HardwareProfile
from edgeinfer.plan.fit import Fit
from edgeinfer.plan.kernels import computes_attention, has_kernels
from edgeinfer.plan.speed import instruction_sets
from edgeinfer.plan.transformer_shape import transformer_shape
from edgeinfer.settings import Settings

ARCHITECTURES = frozenset(("llama", "qwen2"))
"""Models of which it has been seen. What goes through a sequence in chunks, as recurrent layers do, cannot be so."""

ROW_EXACT = frozenset(
    ("F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K")
)  # fmt: skip
"""Types of weights of which tests/backends/llama_cpp/binding/test_row_exactness.py has seen it; F32 are norms."""


def with_determinism(best: Fit, header: Header | None, profile: HardwareProfile, settings: Settings) -> Fit:
    """Note what keeps answers from depending on each other: the kernels, or that there is one at a time."""
    config = replace(best.config, deterministic=settings.deterministic)
    best = replace(best, config=config)
    if not answers(config, header):
        return best
    if why_not_by_row(config, header, profile) is None:
        return replace(best, config=replace(config, determinism="by_row"))
    if settings.deterministic and config.parallel == 1 and config.max_draft == 0:
        return replace(best, config=replace(config, determinism="alone"))
    return best


def one_at_a_time(settings: Settings, config: LlamaConfig, reason: str) -> Settings:
    """Return the settings for deterministic answers without kernels that see to it; `reason` says why these do not.

    Raises:
        SettingsError: the settings ask for several answers at a time.
    """
    if settings.parallel is not None and settings.parallel > 1:
        raise SettingsError(
            f"deterministic answers of {config.name} are computed one at a time, because {reason}, and parallel is "
            f"{settings.parallel}",
            param="deterministic",
            hint="leave out --parallel or --deterministic",
        )
    return replace(settings, parallel=1, max_draft=0)


def answers(config: LlamaConfig, header: Header | None) -> bool:
    """Return whether the model generates text."""
    return not config.reranks and transformer_shape(header).generates


def why_not_by_row(config: LlamaConfig, header: Header | None, profile: HardwareProfile) -> str | None:
    """Return why a token's numbers depend on what is computed with it; None if they do not."""
    if not has_kernels(profile) or "amx" in instruction_sets(profile):
        return "no kernels for this processor add up each token's products alike"
    if config.why_rows_differ:
        return config.why_rows_differ
    if config.flash_attention and not computes_attention(profile, header):
        return "llama.cpp's own flash attention is on"
    if header is None or not header.tensors:
        return "nothing is known of the weights"
    if header.architecture not in ARCHITECTURES or header.number("expert_count"):
        return "nothing is known of models of this kind"
    other = sorted({tensor.type for tensor in header.tensors} - ROW_EXACT)
    return f"there are weights in {', '.join(other)}" if other else None


def determinism_reasons(config: LlamaConfig, header: Header | None, profile: HardwareProfile) -> list[str]:
    """Say how far answers depend on each other; nothing where the build of llama.cpp is unknown."""
    if profile.llama is None or not answers(config, header):
        return []
    reason = why_not_by_row(config, header, profile)
    if config.determinism == "by_row":
        return [
            "deterministic: at temperature 0 or with a seed, an answer is the same alone, beside others and after a crash"
        ]
    if config.determinism == "alone":
        return [f"deterministic: answers are computed one at a time, because {reason}"]
    return [
        f"not deterministic: beside other answers a near tie between two tokens may go another way, because {reason}"
    ]
