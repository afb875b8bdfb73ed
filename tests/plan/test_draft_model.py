"""Whether a smaller model guesses the tokens of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeinfer.errors import ModelNotFound, SettingsError
from edgeinfer.gguf.header import read_header
from edgeinfer.plan.draft_model import NO_DRAFT, DraftChoice, find_draft_model
from edgeinfer.plan.memory_estimate import estimate
from edgeinfer.plan.model_choice import choose
from edgeinfer.plan.plan import Plan, plan_model
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue
from edgeinfer.store.lookup import LocalModel
from edgeinfer.store.predicted_header import predicted_header
from tests.support.gguf import write_tiny
from tests.support.machines import CARD, machine, offer

TARGET, DRAFT = "qwen3-8b", "qwen3-0.6b"


def predicted(name: str, quant: str) -> LocalModel:
    return LocalModel(name, f"/{name}.gguf", predicted_header(catalogue()[name], quant), quant=quant)


def planned(available: float, *gpus: Any, draft: DraftChoice | None = None, **settings: Any) -> Plan:
    choice = DraftChoice(predicted(DRAFT, "Q4_0")) if draft is None else draft
    settings = {"ctx": 4096, "draft_model": "auto", **settings}
    return plan_model(
        predicted(TARGET, "Q4_K_M"), machine(available, *gpus), Settings(**settings), draft=choice
    )


def reason(plan: Plan) -> str:
    return next((why for why in plan.reasons if why.startswith("draft_model")), "")


def test_its_memory_is_planned_and_explained() -> None:
    plan, without = planned(14), planned(14, draft=NO_DRAFT)
    assert f"/{DRAFT}.gguf" == plan.llama.draft_model
    header = predicted(DRAFT, "Q4_0").header
    assert header
    own = estimate(header, plan.llama.for_draft_model(), ())
    assert own.weights + own.kv < plan.memory.draft < 2 * (own.weights + own.kv)
    assert plan.memory.needed == without.memory.needed + plan.memory.draft
    assert f"draft_model {DRAFT}: guesses tokens where that pays, and takes" in reason(plan)
    assert (without.llama.draft_model, without.memory.draft, reason(without)) == (None, 0, "")


def test_without_memory_for_it_there_is_none() -> None:
    plan = planned(10)
    assert plan.fits
    assert plan.llama.draft_model is None
    assert plan.draft_problem in reason(plan)
    assert "for which there is no memory" in plan.draft_problem
    assert plan.llama == planned(10, draft=NO_DRAFT).llama


def test_a_longer_context_leaves_its_memory_to_it() -> None:
    plan = planned(14, CARD, ctx=None)
    assert plan.llama.draft_model
    assert plan.llama.ctx > 4096
    assert not any(plan.budget.excess(plan.memory))


def test_it_is_on_the_card_where_the_whole_model_is() -> None:
    plan = planned(14, CARD)
    assert plan.llama.gpu_layers == -1
    assert plan.memory.draft < plan.memory.gpu_draft <= plan.memory.gpu <= (plan.budget.gpu or 0)
    assert plan.llama.for_draft_model().gpu_layers == -1


@pytest.fixture
def tiny(tmp_path: Path) -> LocalModel:
    """A model whose file is said to be ten times as large as it is."""
    write_tiny(tmp_path / "tiny.gguf")
    header = read_header(tmp_path / "tiny.gguf")
    return LocalModel("large", "/large.gguf", replace(header, size=10 * header.size))


def found(model: LocalModel, tmp_path: Path, name: str = "tiny.gguf", **settings: Any) -> DraftChoice:
    return find_draft_model(model, Settings(draft_model=str(tmp_path / name), **settings))


def test_a_file_can_be_named(tiny: LocalModel, tmp_path: Path) -> None:
    choice = found(tiny, tmp_path)
    assert choice.model
    assert (choice.model.path, choice.problem) == (str(tmp_path / "tiny.gguf"), "")


def test_one_that_is_not_much_smaller_is_not_used_unless_forced(tiny: LocalModel, tmp_path: Path) -> None:
    assert tiny.header
    equal = replace(tiny, header=replace(tiny.header, size=tiny.header.size // 5))
    choice = found(equal, tmp_path)
    assert choice.model is None
    assert "tiny has 50% of the size of large, and above 25% it does not pay" in choice.problem
    assert found(equal, tmp_path, force=True).model


def test_another_vocabulary_is_an_error(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf")
    with pytest.raises(SettingsError, match=r"its vocabulary is another one, of \d+ tokens, not 151936") as e:
        found(predicted(TARGET, "Q4_0"), tmp_path)
    assert e.value.param == "draft_model"


def test_where_models_are_compared_one_that_suits_only_some_is_no_error(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf")
    offers = [offer(TARGET, "Q4_K_M"), offer("gemma-3-1b", "Q4_K_M")]
    choice = choose(machine(14), offers, Settings(ctx=4096, draft_model=str(tmp_path / "tiny.gguf")))
    assert "its vocabulary is another one" in choice.plan.draft_problem


def test_a_file_that_is_not_there_is_an_error(tiny: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as e:
        found(tiny, tmp_path, "other.gguf")
    assert e.value.param == "draft_model"


def test_without_drafts_there_is_no_draft_model(tiny: LocalModel, tmp_path: Path) -> None:
    assert "max_draft is 0" == found(tiny, tmp_path, max_draft=0).problem
    for name in (None, "off"):
        assert find_draft_model(tiny, Settings(draft_model=name)) is NO_DRAFT


def test_auto_is_the_one_that_the_catalogue_names(tmp_path: Path) -> None:
    settings = Settings(draft_model="auto", store=str(tmp_path))
    choice = find_draft_model(predicted(TARGET, "Q4_K_M"), settings)
    assert choice.problem == f"{DRAFT}:Q4_0 is not installed: edgeinfer pull {DRAFT}:Q4_0"
    none = find_draft_model(predicted("gemma-3-1b", "Q4_K_M"), settings)
    assert none.problem == "the catalogue names none for gemma-3-1b"


def test_the_catalogue_pairs_models_of_one_vocabulary_and_of_very_different_sizes() -> None:
    known = catalogue()
    pairs = {name: spec.draft for name, spec in known.items() if spec.draft}
    assert pairs
    for name, reference in pairs.items():
        draft, _, quant = reference.partition(":")
        theirs, ours = known[draft], known[name]
        assert theirs.shape
        assert ours.shape
        assert theirs.shape.vocabulary == ours.shape.vocabulary
        assert theirs.shape.arch == ours.shape.arch
        small = predicted_header(theirs, quant)
        assert small
        for file in ours.files:
            if file.quant != "Q4_0" and (large := predicted_header(ours, file.quant)):
                assert small.size < 0.25 * large.size
