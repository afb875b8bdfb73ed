from __future__ import annotations

import logging
import os
from pathlib import Path

import hypothesis
import pytest

from edgeinfer.catalog.models import find
from edgeinfer.llama.logs import LogCapture

# The same examples each time, and no time limit: the machine may be busy with something else.
hypothesis.settings.register_profile("tests", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def model_file() -> Path:
    """A real model: the bundled one, or the file that TEST_MODEL names."""
    return Path(os.environ.get("TEST_MODEL") or find(None).path)


@pytest.fixture(scope="session")
def llama_log() -> LogCapture:
    """llama.cpp knows one log callback, for the whole process."""
    return LogCapture(logging.getLogger("llama.cpp"))
