"""Places in the repository that tests read from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TREES = ROOT / "tests" / "hardware" / "trees"
BUNDLED = ROOT / "edgeinfer" / "bundled" / "edgeinfer-nano.gguf"
