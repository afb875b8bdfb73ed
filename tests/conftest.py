from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from edgeinfer.store.lookup import find_model

if TYPE_CHECKING:
    from edgeinfer.backends.llama_cpp.binding.logs import LogCapture

# Whoever runs the tests in the background may ignore these, and what the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A store that is never there: the tests must not see what whoever runs them has installed.
os.environ["EDGEINFER_STORE"] = f"{os.devnull}/store"
os.environ["XDG_STATE_HOME"] = f"{os.devnull}/state"  # and leave no records of daemons

# The same examples each time, and no time limit: the machine may be busy with something else.
hypothesis.settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # a busy machine is no fault
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def model_file() -> Path:
    """A real model: the bundled one."""
    return Path(find_model(None).path)


@pytest.fixture(scope="session")
def llama_log() -> LogCapture:
    """llama.cpp knows one log callback, for the whole process."""
    from edgeinfer.backends.llama_cpp.binding.logs import LogCapture

    return LogCapture(logging.getLogger("llama.cpp"))


def pytest_unconfigure() -> None:
    """llama-cpp-python opens two files for good, of which the interpreter would warn at its end."""
    if utils := sys.modules.get("llama_cpp._utils"):
        utils.outnull_file.close()
        utils.errnull_file.close()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", action="store_true", help="run only the tests that are marked alone")
    parser.addoption(
        "--heavy", action="store_true", help="run those too that take many minutes or download gigabytes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One of several processes leaves out what needs the machine to itself; scripts/test runs that afterwards."""
    only, heavy = bool(config.getoption("--alone")), bool(config.getoption("--heavy"))
    is_one_of_several = hasattr(config, "workerinput")  # which pytest-xdist gives its processes
    chosen: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        alone = item.get_closest_marker("alone") is not None
        is_its_turn = alone if only else not (alone and is_one_of_several)
        wanted = is_its_turn and (heavy or item.get_closest_marker("heavy") is None)
        (chosen if wanted else left_out).append(item)
    config.hook.pytest_deselected(items=left_out)
    if is_one_of_several:  # the longest files begin first, so that no process is left with one at the end
        slow_files = {item.path for item in chosen if item.get_closest_marker("slow")}
        chosen.sort(key=lambda item: item.path not in slow_files)
    items[:] = chosen


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports travel between processes as UTF-8, and what a test has logged need not be that."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value
