"""Measures what an attack does to others: their waiting, the target's memory, its log."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import psutil

from tests.attacks.target import CHAT, OTHER, Target
from tests.support.paths import ROOT

PROBE_INTERVAL = 0.02
CHAT_INTERVAL = 0.2
MB = 1e6


class Figures(msgspec.Struct):
    """What others saw, at worst; seconds, MB.

    Attributes:
        gap: longest wait for /health on an open connection.
        new_gap: the same with a new connection each time.
        rss: the target's largest memory.
        log: MB a minute.
        chat: longest wait of another caller for a chat of one token; None for a mirror.
    """

    gap: float
    new_gap: float
    rss: float
    log: float
    chat: float | None


def measure(target: Target, attack: str | None, seconds: float) -> Figures:
    """Run an attack, or nothing, for some seconds; -> what others saw meanwhile."""
    target.end = time.monotonic() + seconds
    logged = Path(target.log).stat().st_size
    probes, new_probes, memory = _Probes(target, keep=True), _Probes(target, keep=False), _Memory(target)
    chats = _Chats(target)
    watchers = [probes.run, new_probes.run, memory.run] + [chats.run] * (target.kind == "daemon")
    threads = [threading.Thread(target=watcher) for watcher in watchers]
    for thread in threads:
        thread.start()
    if attack:
        command = [sys.executable, "-m", "tests.attacks", attack, msgspec.json.encode(target).decode()]
        subprocess.run(command, cwd=ROOT, check=True, timeout=seconds + 60)
    for thread in threads:
        thread.join()
    log = (Path(target.log).stat().st_size - logged) / MB / seconds * 60
    chat = chats.worst if target.kind == "daemon" else None
    return Figures(probes.worst, new_probes.worst, memory.worst, log, chat)


class _Probes:
    """Asks for /health again and again."""

    def __init__(self, target: Target, *, keep: bool) -> None:
        self.worst = 0.0
        self._target = target
        self._keep = keep

    def run(self) -> None:
        client = self._target.client()
        while not self._target.is_over():
            started = time.monotonic()
            try:
                client.request("GET", self._target.health)
                client.getresponse().read()
            except (OSError, http.client.HTTPException):
                client.close()  # an idle connection may be closed at any time
                if time.monotonic() - started < 1:
                    continue
            self.worst = max(self.worst, time.monotonic() - started)
            if not self._keep:
                client.close()
            time.sleep(PROBE_INTERVAL)
        client.close()


class _Chats:
    """Another caller, who wants one token at a time."""

    def __init__(self, target: Target) -> None:
        self.worst = 0.0
        self._target = msgspec.structs.replace(target, key=OTHER)

    def run(self) -> None:
        while not self._target.is_over():
            started = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._target.post("/v1/chat/completions", CHAT, 120)
            self.worst = max(self.worst, time.monotonic() - started)
            time.sleep(CHAT_INTERVAL)


class _Memory:
    def __init__(self, target: Target) -> None:
        self.worst = 0.0
        self._target = target
        self._process = psutil.Process(target.pid)

    def run(self) -> None:
        while not self._target.is_over():
            self.worst = max(self.worst, self._process.memory_info().rss / MB)
            time.sleep(0.05)
