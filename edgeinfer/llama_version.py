"""Finds out which llama-cpp-python is installed, without loading it."""

from __future__ import annotations

import contextlib
import os
import sys

BEGINNING, ENDING = "llama_cpp_python-", ".dist-info"
"""Of the name of the folder that pip makes beside a package; the version is between them."""


def llama_version() -> str | None:
    """Return the version of llama-cpp-python; None if it is not installed.

    `importlib.metadata` knows it too, but importing that takes a worker 60 ms or more on the way to its first token, and
    it has no other use for it.
    """
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(folder or "."):  # noqa: PTH208  the names are enough
                if name.startswith(BEGINNING) and name.endswith(ENDING):
                    return name[len(BEGINNING) : -len(ENDING)]
    import importlib.metadata  # a distribution may package it in another way

    try:
        return importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        return None
