"""What the daemon says when it opens an engine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgeinfer.server.engines import LlamaEngines
from edgeinfer.settings import Settings


@pytest.mark.parametrize(("ctx", "told"), [(4_000_000, True), (1024, False), (None, False)])
def test_a_context_that_is_cut_is_told(
    ctx: int | None, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(model="edgeinfer-nano", ctx=ctx, store=str(tmp_path))
    engines = LlamaEngines(settings)
    with caplog.at_level(logging.WARNING):
        engines.open(engines.planner(None, settings)([], []), settings)
    warned = [record.getMessage() for record in caplog.records if "ctx is" in record.getMessage()]
    assert warned == (
        ["edgeinfer-nano: ctx is 2048, not 4000000: the model was trained for no more"] if told else []
    )
