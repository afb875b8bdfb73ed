"""A machine that joins a cluster gets the model from a real mirror."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.cluster import weights
from edgeinfer.cluster.deployment import FleetPlan
from edgeinfer.errors import ServiceFailed
from edgeinfer.hub.mirror import mirror_app
from edgeinfer.store.store import Store
from tests.support.mirror import add, serving

REPO, FILE = "ggml-org/Qwen3-0.6B-GGUF", "Qwen3-0.6B-f16.gguf"


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Variables of a node without a model; the head, which is not there, says what the cluster serves."""
    plan = FleetPlan(["board"], settings={"model": "qwen3-0.6b:F16"})
    monkeypatch.setattr(weights, "deployed_at", {"head:6380": plan, "bundled:6380": FleetPlan()}.__getitem__)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return {**os.environ, "EDGEINFER_STORE": str(tmp_path / "node")}


def test_the_clusters_model_comes_from_the_mirror_once(
    tmp_path: Path, model_file: Path, environ: dict[str, str]
) -> None:
    """The second time it is there, and the mirror may be gone."""
    data = model_file.read_bytes()
    add(Store(tmp_path / "mirror"), data, name="qwen3-0.6b", quant="F16", repo=REPO, file=FILE)
    with serving(mirror_app(Store(tmp_path / "mirror"))) as url:
        weights.install_model(environ, "head:6380", url)
    (installed,) = (tmp_path / "node").rglob("*.gguf")
    assert data == installed.read_bytes()
    weights.install_model(environ, "head:6380", "http://127.0.0.1:9")


def test_a_model_that_the_mirror_lacks_is_an_error(tmp_path: Path, environ: dict[str, str]) -> None:
    """The bundled one is on every machine."""
    with serving(mirror_app(Store(tmp_path / "mirror"))) as url:
        with pytest.raises(ServiceFailed, match=r"qwen3-0.6b:F16, the cluster's model, cannot be installed"):
            weights.install_model(environ, "head:6380", url)
        weights.install_model(environ, "bundled:6380", url)
