"""`edgeinfer status --watch`: the report again and again, in place on a terminal, a line each elsewhere."""

from __future__ import annotations

import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import httpx
import msgspec

from edgeinfer.cli import terminal
from edgeinfer.cli.status_report import lines
from edgeinfer.client.http import Target, connect, get_json
from edgeinfer.client.status import StatusReply, parse_status
from edgeinfer.errors import EdgeinferError, NotReady

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's second screen, without a cursor; and back to what was there before."""

HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Look(msgspec.Struct, frozen=True):
    """What was seen at one moment.

    Attributes:
        body: the JSON of /status.
        report: the same, read; None if the daemon did not answer.
        error: why it did not.
        rate: tokens per second that were generated since the look before; None at the first.
    """

    time: datetime
    body: Any = None
    report: StatusReply | None = None
    error: EdgeinferError | None = None
    rate: float | None = None


def watch_status(target: Target, seconds: float, *, as_json: bool) -> None:
    """Show the daemon's report every few seconds until Ctrl-C.

    Raises:
        EdgeinferError: something else than a daemon answers from the beginning; one that is gone is waited for.
    """
    view = _view(as_json=as_json)
    with connect(target) as client, suppress(KeyboardInterrupt), view.open():
        before: Look | None = None
        while True:
            look = take_look(client, target, before)
            if before is None and look.error and not isinstance(look.error, NotReady):
                raise look.error
            view.show(look)
            before = look if look.report else before or look
            time.sleep(seconds)


def take_look(client: httpx.Client, target: Target, before: Look | None) -> Look:
    """Ask for the report once."""
    now = datetime.now().astimezone()
    try:
        body = get_json(client, target, "/status")
        report = parse_status(body, target)
    except EdgeinferError as e:
        return Look(now, error=e)
    return Look(now, body, report, rate=_rate(report, now, before))


def _rate(report: StatusReply, now: datetime, before: Look | None) -> float | None:
    if before is None or before.report is None or before.report.pid != report.pid:
        return None
    seconds = (now - before.time).total_seconds()
    tokens = _generated(report) - _generated(before.report)
    return tokens / seconds if seconds > 0 and tokens >= 0 else None


def _generated(report: StatusReply) -> int:
    return int(report.stats.get("completion_tokens_total", 0))


class View(ABC):
    """Where looks are shown."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Prepare the output for the time of the block."""
        yield

    @abstractmethod
    def show(self, look: Look) -> None:
        """Show a look."""


class JsonView(View):
    """A line of JSON for each look: the daemon's report with `time`, or `time` and `error`."""

    def show(self, look: Look) -> None:
        moment = {"time": look.time.isoformat(timespec="milliseconds")}
        content = look.body if look.error is None else {"error": msgspec.to_builtins(look.error.data())}
        terminal.write(msgspec.json.encode({**moment, **content}).decode() + "\n")


class LineView(View):
    """A line of text for each look."""

    def show(self, look: Look) -> None:
        terminal.write(f"{look.time.isoformat(sep=' ', timespec='seconds')}  {summary(look)}\n")


class ScreenView(View):
    """The whole report, in place."""

    @contextmanager
    def open(self) -> Iterator[None]:
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        sys.stdout.write(ENTER)
        try:
            yield
        finally:
            sys.stdout.write(LEAVE)
            sys.stdout.flush()
            signal.signal(signal.SIGTERM, before)

    def show(self, look: Look) -> None:
        columns, rows = terminal.size()
        texts = [f"{look.time:%H:%M:%S}  Ctrl-C ends", ""]
        texts += lines(look.report) if look.report else [summary(look)]
        if look.rate:
            texts[0] = f"{look.time:%H:%M:%S}  {look.rate:.1f} tok/s generated  Ctrl-C ends"
        if len(texts) > rows:
            texts[rows - 1 :] = [f"… {len(texts) - rows + 1} more lines"]
        shown = (terminal.fitted(terminal.escape_control(text), columns) + CLEAR_LINE for text in texts)
        sys.stdout.write(HOME + "\n".join(shown) + CLEAR_BELOW)
        sys.stdout.flush()


def summary(look: Look) -> str:
    """Say in a line what the daemon is doing, or why that is not known."""
    if look.report is None:
        return look.error.message if look.error else ""
    report, stats = look.report, look.report.stats
    name = (report.model or {}).get("name")
    facts = [report.state, *([str(name)] if name else [])]
    facts.append(f"{stats.get('running', 0)} running, {stats.get('waiting', 0)} waiting")
    if size := stats.get("cells"):
        facts.append(f"{stats.get('cells_used', 0)} of {size} KV cells used")
    facts.append(f"{_generated(report)} tokens generated")
    if look.rate is not None:
        facts.append(f"{look.rate:.1f} tok/s")
    return " · ".join(facts)


def _view(*, as_json: bool) -> View:
    if as_json:
        return JsonView()
    return ScreenView() if terminal.can_draw(sys.stdout) else LineView()
