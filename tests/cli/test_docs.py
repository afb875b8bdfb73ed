"""The docs say what the code does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edgeinfer import errors, settings
from edgeinfer.inference.output import EngineStats
from edgeinfer.inference.sampling import SamplingParams
from edgeinfer.inference.types import EngineBuild
from edgeinfer.metrics import Metrics
from edgeinfer.server.openai.schemas.chat import ChatRequest
from tests.support.cli import environment
from tests.support.paths import ROOT

API = (ROOT / "docs" / "api.md").read_text()


class Engine:
    """What computes it."""

    load_seconds = 1.0
    pid = None
    build = EngineBuild("0.3.36")


class LoadedModel:
    """A model whose figures /metrics shows."""

    name = "model"
    state = "ready"
    stats = EngineStats(cells=1)
    restarts = resumed = 0
    health = Engine()


def test_the_generated_pages_are_up_to_date(tmp_path: Path) -> None:
    """docs/configuration.md and docs/cli.md say what the code does: scripts/docs writes them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "docs"), "--check"],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_setting_is_documented() -> None:
    """A setting that nobody finds is none."""
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert [name for name in settings.FIELDS if f"| `{name}` |" not in page] == []


def test_every_error_code_is_documented() -> None:
    """A program may rely on it, so it must be named; `invalid_settings` never leaves the command line."""
    codes = set(errors.all_errors()) - {"invalid_settings"}
    assert [code for code in codes if f"`{code}`" not in API] == []


def test_every_field_of_chat_is_documented() -> None:
    """OpenAI's and our own."""
    assert [name for name in ChatRequest.model_fields if f"`{name}" not in API] == []


def test_the_documented_defaults_of_sampling_are_the_real_ones() -> None:
    """They are in the table in this order."""
    params = SamplingParams()
    assert f"| `temperature` | {params.temperature:g} |" in API
    assert f"| `top_k`, `top_p`, `min_p` | {params.top_k}, {params.top_p:g}, {params.min_p:g} |" in API
    assert f"| `typical_p` | {params.typical_p:g} |" in API
    assert f"| `repeat_penalty`, `repeat_last_n` | {params.repeat_penalty:g}, {params.repeat_last_n} |" in API


def test_every_metric_is_documented() -> None:
    """Dashboards are made from the page."""
    registry = Metrics(lambda: [LoadedModel()]).registry
    names = [
        family.name.removeprefix("edgeinfer_") + ("_total" if family.type == "counter" else "")
        for family in registry.collect()
    ]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in API] == []
