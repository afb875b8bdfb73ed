"""Which of a family's models a machine should run."""

from __future__ import annotations

import pytest

from edgeinfer.hardware import detect
from edgeinfer.plan.model_size import largest_that_suits
from edgeinfer.settings import Settings
from edgeinfer.store.catalogue import catalogue, family
from tests.support.paths import TREES

QWEN3 = family("qwen3", catalogue())


def test_a_family_has_its_chat_models_from_the_smallest_on() -> None:
    """Neither those for embeddings nor those of other families."""
    assert QWEN3[:2] == ["qwen3-0.6b", "qwen3-1.7b"]
    assert not [name for name in QWEN3 if "embed" in name or "rerank" in name]
    assert family("nothing", catalogue()) == []


@pytest.mark.parametrize(
    ("record", "model"),
    [
        ("pi-zero-2", None),
        ("pi4-4gb", "qwen3-0.6b"),
        ("pi5-8gb", "qwen3-1.7b"),
        ("rk3566-4gb", "qwen3-0.6b"),
        ("rtx-3060-desktop", "qwen3-30b-a3b-instruct-2507"),
    ],
)
def test_the_largest_that_fits_and_is_as_fast_as_one_reads_is_chosen(record: str, model: str | None) -> None:
    """If all are slower, it is the smallest."""
    assert model == largest_that_suits(QWEN3, detect(TREES / record), Settings(), None)
