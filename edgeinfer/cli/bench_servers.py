"""`edgeinfer bench --url` and `--against`: servers are measured by what their clients see."""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec
import typer

from edgeinfer.bench.bandwidth_limit import bandwidth_limit
from edgeinfer.bench.openai_server import OpenAIServer, Refused
from edgeinfer.bench.paired import ScenarioResult, measure_scenario
from edgeinfer.bench.scenarios import FULL, QUICK
from edgeinfer.cli import terminal
from edgeinfer.cli.answering_daemon import is_running
from edgeinfer.cli.bench_report import heading, notes, rows, start_row
from edgeinfer.cli.private_daemon import private_daemon
from edgeinfer.client.http import (
    API_KEY,
    Target,
    accepted_certificates,
    base_url,
    connect,
    get_json,
    resolve_target,
)
from edgeinfer.client.listed_models import listed_models
from edgeinfer.errors import EdgeinferError, NotReady, Unauthorized
from edgeinfer.hardware import detect
from edgeinfer.plan import calibration as calibrations
from edgeinfer.plan.calibration import Calibration
from edgeinfer.server.http.sockets import is_loopback
from edgeinfer.settings import ENV_PREFIX, load
from edgeinfer.store.store import Store

AGAINST_KEY = ENV_PREFIX + "AGAINST_KEY"
AUTHORIZATION = (401, 403)
SHOWN_MODELS = 5


class Side(NamedTuple):
    """One of the servers. `key_hint`: how its key is passed; `model_option`: how its model is named."""

    target: Target
    model: str | None
    key_hint: str
    model_option: str


class ServerReport(msgspec.Struct):
    """What is known of a server.

    Attributes:
        counts_tokens: False if parts of answers and words of prompts were counted in place of tokens.
        fixed_length: False if answers end where the model ends them.
        limit: tokens per second of one answer that the memory's bandwidth allows for its model; None if unknown.
        share: the share of that which single answers reached.
    """

    url: str
    model: str | None = None
    counts_tokens: bool = True
    fixed_length: bool = True
    limit: float | None = None
    share: float | None = None


class ServersReport(msgspec.Struct):
    """All results. `start`: seconds until a daemon that was started for this was ready, once."""

    servers: list[ServerReport]
    rounds: int
    quick: bool
    start: float | None
    scenarios: list[ScenarioResult]


class ServersToBench(NamedTuple):
    """What the command line says."""

    url: str | None
    api_key: str | None
    model: str | None
    against: str | None
    against_key: str | None
    against_model: str | None
    scenarios: Sequence[str]
    rounds: int
    quick: bool
    json: bool


def bench_servers(options: ServersToBench) -> None:
    """Measure one server, or two in turns, and print what came out."""
    first = resolve_target(options.url, options.api_key)
    sides = [Side(first, options.model, f"pass a key with --api-key or in {API_KEY}", "--model")]
    if options.against:
        key = (options.against_key or os.environ.get(AGAINST_KEY, "")).strip() or None
        other = Target(base_url(options.against), api_key=key, explicit=True)
        hint = f"pass a key with --against-key or in {AGAINST_KEY}"
        sides.append(Side(other, options.against_model, hint, "--against-model"))
    for side in sides:
        _check_address(side.target)
    if len({str(side.target) for side in sides}) < len(sides):
        raise typer.BadParameter("it is the server that is to be compared with it", param_hint="--against")
    with _running(sides[0]) as (measured, start):
        report = asyncio.run(_measure([measured, *sides[1:]], start, options))
    if options.json:
        terminal.write_json(report)


def _check_address(target: Target) -> None:
    try:
        parts = urlsplit(target.url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        sound = False
    if not sound or not target.url.isascii() or not target.url.isprintable() or " " in target.url:
        raise EdgeinferError(f"{target.url} is no address of a server", hint="such as http://127.0.0.1:8080")


@contextmanager
def _running(side: Side) -> Iterator[tuple[Side, float | None]]:
    """Yield the daemon, and if it was started for this, the seconds until it was ready."""
    target, model = side.target, side.model
    is_file = model is not None and Path(model).is_file()
    if target.explicit or (not is_file and is_running(target)):
        yield side, None
        return
    terminal.show("(starting a daemon for this benchmark)")
    started = time.perf_counter()
    with private_daemon(model, target.load_timeout) as private:
        yield side._replace(target=private, model=None), time.perf_counter() - started


async def _measure(sides: Sequence[Side], start: float | None, options: ServersToBench) -> ServersReport:
    servers, reports = [], []
    calibration = _calibration()
    for side in sides:
        server, report = await _prepare(side)
        report.limit = _limit(side, calibration)
        servers.append(server)
        reports.append(report)
    whole = ServersReport(reports, options.rounds, options.quick, start, [])
    _show(options, heading(whole))
    if start is not None:
        _show(options, start_row(start))
    seed = secrets.randbits(64)  # prompts that no server has in a cache from an earlier run
    for name in options.scenarios:
        load = QUICK if options.quick else FULL
        result = await measure_scenario(name, servers, options.rounds, load, seed)
        whole.scenarios.append(result)
        _show(options, rows(result))
        if name == "single":
            for report, figures in zip(reports, result.servers, strict=True):
                if report.limit and figures.median:
                    report.share = figures.median / report.limit
    _show(options, notes(whole))
    return whole


def _show(options: ServersToBench, text: str) -> None:
    if not options.json:
        terminal.write(text)


async def _prepare(side: Side) -> tuple[OpenAIServer, ServerReport]:
    """Ask a server for a few words, so that its model is loaded, and learn what it takes."""
    target = side.target
    certificates = accepted_certificates(target)
    with connect(target) as client:  # also checks the key
        models = listed_models(client, target)
    name = side.model or (models[0].name if len(models) == 1 else None)
    server = OpenAIServer(
        target.url,
        uds=target.uds,
        api_key=target.api_key,
        model=name,
        tls=certificates if isinstance(certificates, ssl.SSLContext) else None,
    )
    try:
        stream = await server.prepare()
    except Refused as e:
        raise _not_answering(side, e, [model.name for model in models] if name is None else []) from None
    return server, ServerReport(
        str(target), name or stream.model, stream.counted, "ignore_eos" in server.optional
    )


def _not_answering(side: Side, refusal: Refused, models: Sequence[str]) -> EdgeinferError:
    """Return the error for a server that refuses the simplest request."""
    message = f"{side.target}: {refusal.message}"
    if refusal.answered in AUTHORIZATION:
        return Unauthorized(message, hint=side.key_hint)
    if refusal.answered == 503:
        return NotReady(message, hint="wait until its model is loaded")
    if models:
        names = ", ".join(models[:SHOWN_MODELS])
        return EdgeinferError(message, hint=f"name a model with {side.model_option}, such as {names}")
    if refusal.answered in (404, 405, 501):
        message = f"{side.target} does not speak OpenAI's API: {refusal.message}"
        return EdgeinferError(message, hint="is this the address of a model server?")
    return EdgeinferError(message)


def _calibration() -> Calibration | None:
    root = Store.of(load().settings).root
    if not (root / calibrations.FILE).is_file():
        return None
    return calibrations.load(root, detect(models=root))


def _limit(side: Side, calibration: Calibration | None) -> float | None:
    """Return the limit for a server on this machine that says, as llama-server does, which file it has loaded."""
    target = side.target
    if calibration is None or not (target.uds or is_loopback(urlsplit(target.url).hostname or "")):
        return None
    try:
        with connect(target) as client:
            query = f"?{urlencode({'model': side.model})}" if side.model else ""
            props: Any = get_json(client, target, f"/props{query}")
    except EdgeinferError:
        return None
    path = props.get("model_path") if isinstance(props, dict) else None
    if not isinstance(path, str) or "\0" in path or not Path(path).is_absolute() or not Path(path).is_file():
        return None
    return bandwidth_limit(Path(path), calibration)
