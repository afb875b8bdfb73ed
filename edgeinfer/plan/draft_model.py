"""Decides whether a smaller model guesses the tokens of a model."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from edgeinfer.errors import EdgeinferError, ModelNotFound, SettingsError
from edgeinfer.gguf.header import Header
from edgeinfer.hardware.gpu import Gpu
from edgeinfer.plan.fit import Fit, memory_beside
from edgeinfer.plan.memory_budget import MemoryBudget
from edgeinfer.plan.transformer_shape import transformer_shape
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import resolve_spec
from edgeinfer.store.lookup import LocalModel, find_model
from edgeinfer.store.store import Store

AUTO, OFF = "auto", "off"

MAX_SHARE = 0.25
"""Size of a draft model, as a share of the model's: a larger one takes too much of the time that it saves."""

MAX_PADDING = 256
"""Tokens that one of two equal vocabularies may have more."""

MB = 1e6


class DraftChoice:
    """The draft model that the settings or the catalogue name, if there is one that can guess.

    Attributes:
        model: None if there is none.
        problem: why the one that is named is not used; "" if none is named.
    """

    def __init__(self, model: LocalModel | None = None, problem: str = "") -> None:
        self.model = model
        self.problem = problem

    @property
    def header(self) -> Header | None:
        return self.model.header if self.model else None


NO_DRAFT = DraftChoice()


def find_draft_model(model: LocalModel, settings: Settings) -> DraftChoice:
    """Find the draft model for `model`.

    Raises:
        ModelNotFound, ModelLoadFailed: it is named in the settings, and is not installed, or not a sound GGUF file.
        SettingsError: it cannot guess for this model.
    """
    name = settings.draft_model
    if not name or name == OFF or model.folder is not None:
        return NO_DRAFT
    if name == AUTO:
        name = _catalogued(model.name)
        if name is None:
            return DraftChoice(problem=f"the catalogue names none for {model.name}")
        try:
            return _checked(find_model(name, Store.of(settings)), model, settings)
        except ModelNotFound:
            return DraftChoice(problem=f"{name} is not installed: edgeinfer pull {name}")
    try:
        draft = find_model(name, Store.of(settings))
    except EdgeinferError as e:
        e.param = "draft_model"
        raise
    return _checked(draft, model, settings)


def with_draft_model(
    fit: Fit,
    header: Header | None,
    draft: DraftChoice,
    budget: MemoryBudget,
    isa: Collection[str],
    gpu: Gpu | None,
    *,
    daemon_runs: bool = False,
) -> tuple[Fit, DraftChoice]:
    """Return `fit` with the draft model, if there is memory for that; otherwise without, and the reason."""
    if draft.model is None:
        return fit, draft
    config = replace(fit.config, draft_model=draft.model.path)
    memory = memory_beside(config, header, isa, gpu, daemon_runs=daemon_runs, draft=draft.header)
    over = budget.excess(memory)
    if fit.fits is False or any(over):
        size = memory.draft + memory.gpu_draft
        where = "GPU memory" if over[0] else "memory"
        return fit, DraftChoice(
            problem=f"{draft.model.name} takes {size / MB:.0f} MB, for which there is no {where}"
        )
    return Fit(config, memory, fit.fits), draft


def draft_reason(fit: Fit, draft: DraftChoice) -> str | None:
    """Explain whether there is a draft model; None if nobody asked for one."""
    if draft.problem:
        return f"draft_model off: {draft.problem}"
    if draft.model is None:
        return None
    size = (fit.memory.draft + fit.memory.gpu_draft) / MB
    return f"draft_model {draft.model.name}: guesses tokens where that pays, and takes {size:.0f} MB"


def _catalogued(name: str) -> str | None:
    try:
        return resolve_spec(name)[1].draft
    except ModelNotFound:
        return None


def _checked(draft: LocalModel, model: LocalModel, settings: Settings) -> DraftChoice:
    """Return the draft model, or why it is of no use here. Raises SettingsError if it is none for this model."""
    if settings.max_draft == 0:
        return DraftChoice(problem="max_draft is 0")
    if model.header and (model.header.reranks or not transformer_shape(model.header).generates):
        return DraftChoice(problem=f"{model.name} generates no text")
    if problem := _mismatch(draft, model):
        raise SettingsError(
            f"{draft.name} cannot be the draft model of {model.name}: {problem}",
            param="draft_model",
            hint="name a smaller model of the same family; in a table of its own, a model has its own draft_model",
        )
    if draft.header and model.header:
        share = draft.header.size / model.header.size
        if share > MAX_SHARE and not settings.force:
            return DraftChoice(
                problem=f"{draft.name} has {share:.0%} of the size of {model.name}, and above {MAX_SHARE:.0%} it does "
                "not pay; force = true uses it anyway"
            )
    return DraftChoice(draft)


def _mismatch(draft: LocalModel, model: LocalModel) -> str | None:
    """Say why one model cannot guess the other's tokens, as far as the headers tell: the worker compares all tokens."""
    if draft.folder is not None:
        return "it is a folder with safetensors, not a GGUF file"
    if draft.header is None or model.header is None:  # the fake
        return None if draft.header is model.header else "its vocabulary is another one"
    if draft.header.reranks or not transformer_shape(draft.header).generates:
        return "it generates no text"
    theirs, ours = (transformer_shape(header).vocabulary for header in (draft.header, model.header))
    if theirs and ours and abs(theirs - ours) > MAX_PADDING:
        return f"its vocabulary is another one, of {theirs} tokens, not {ours}"
    return None
