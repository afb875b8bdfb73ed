"""Processes that the code under test has started."""

from __future__ import annotations

import os

import psutil


def children(word: str, of: int | None = None, *, recursive: bool = False) -> list[psutil.Process]:
    """The living children of process `of` (this one by default) with `word` in their command line.

    Others that end while they are looked at, as a `uname` of the standard library does, are left out.
    """
    every = psutil.Process(of or os.getpid()).children(recursive=recursive)
    return [child for child in every if word in command_line(child)]


def command_line(process: psutil.Process) -> str:
    """Its words, and nothing once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
