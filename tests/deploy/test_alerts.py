"""Prometheus with the rules in deploy/ scrapes a daemon, and an alert comes to Alertmanager and goes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from edgeinfer.hardware.gpu_use import GpuUse
from edgeinfer.hardware.memory import Memory
from edgeinfer.hardware.thermal import ThermalZone
from edgeinfer.metrics import ENGINE_GAUGES
from edgeinfer.server.machine_metrics import MachineCollector
from edgeinfer.server.machine_use import Disk, MachineReading
from tests.support.debian_programs import command, find_program
from tests.support.nano_daemon import NanoDaemon, free_port
from tests.support.paths import ROOT
from tests.support.server import eventually

pytestmark = pytest.mark.slow

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus/edgeinfer.rules.yml"
DASHBOARD = DEPLOY / "grafana/dashboards/edgeinfer.json"


def run(program: str, *arguments: str | Path, folder: Path = DEPLOY) -> str:
    words = [str(find_program(program)), *map(str, arguments)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_configurations_are_valid() -> None:
    run("promtool", "check", "rules", RULES)
    run("promtool", "check", "config", "prometheus.yml", folder=DEPLOY / "prometheus")
    run("amtool", "check-config", DEPLOY / "alertmanager/alertmanager.yml")


def test_each_alert_fires_when_it_should_and_has_a_test() -> None:
    tests = DEPLOY / "prometheus/edgeinfer.rules.test.yml"
    run("promtool", "test", "rules", tests.name, folder=tests.parent)
    tested = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", tests.read_text()))
    assert set(re.findall(r"- alert: (\w+)", RULES.read_text())) == tested


def test_rules_and_dashboard_name_only_metrics_that_exist(daemon: NanoDaemon) -> None:
    """A daemon's own, and those of a machine that has everything."""
    text = httpx.get(f"{daemon.url}/metrics").text
    known = set(re.findall(r"^(edgeinfer_\w+)[ {]", text, re.MULTILINE)) | machine_metrics()
    known |= {name.removesuffix("_bucket") for name in known}  # as people call a histogram
    expressions = dashboard_expressions()
    assert len(expressions) > 20
    for expression in [*expressions, RULES.read_text()]:
        assert set(re.findall(r"\bedgeinfer_\w+", expression)) <= known


def test_the_dashboards_expressions_are_promql(tmp_path: Path) -> None:
    """As Prometheus itself parses them, with Grafana's variables filled in."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(dashboard_expressions())
    ]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    run("promtool", "check", "rules", "--lint=none", file)


def test_the_dashboards_panels_lie_beside_one_another() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


def dashboard_expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def machine_metrics() -> set[str]:
    """The names of the metrics of a machine of which everything is known."""
    gpu = GpuUse("nvidia0", "GPU", 2, 1, 0.5, 60, 100.0)
    reading = MachineReading(
        0.0, Memory(2, 1, None), [gpu], [ThermalZone("cpu", 50)], {"firmware": False}, Disk(2, 1)
    )
    names = {family.name for family in MachineCollector(lambda: reading, lambda: None).collect()}
    assert len(names) > 10
    return names | {"edgeinfer_certificate_end_timestamp_seconds"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NanoDaemon]:
    daemon = NanoDaemon(tmp_path_factory.mktemp("daemon"), EDGEINFER_THREADS="1", EDGEINFER_CTX="512")
    try:
        daemon.start()
        httpx.post(f"{daemon.url}/v1/completions", json={"prompt": "Once", "max_tokens": 4}, timeout=60)
        yield daemon
    finally:
        daemon.kill()


class Receiver(ThreadingHTTPServer):
    """Where Alertmanager sends to. `seen` has name and state of each alert, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen += [(alert["labels"]["alertname"], alert["status"]) for alert in body["alerts"]]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def running(program: str, folder: Path, ready: str, *arguments: str) -> Iterator[None]:
    """Run a server until the end of the block, once its page `ready` answers."""
    log = folder / f"{program}.log"
    with log.open("wb") as file:
        process = subprocess.Popen([*command(program), *arguments], cwd=folder, stdout=file, stderr=file)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(ready).status_code == 200
        except httpx.TransportError:
            return False

    try:
        assert eventually(answers, 60), log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.timeout(240)
def test_an_engine_that_restarts_comes_to_the_operator_and_is_resolved(
    daemon: NanoDaemon, tmp_path: Path
) -> None:
    """The files of deploy/, with short intervals."""
    receiver = Receiver()
    prometheus, alertmanager = free_port(), free_port()
    config = (DEPLOY / "prometheus/prometheus.yml").read_text()
    for old, new in (
        ("15s", "1s"),
        ("127.0.0.1:9093", f"127.0.0.1:{alertmanager}"),
        ("127.0.0.1:11435", daemon.address),
    ):
        assert old in config
        config = config.replace(old, new)
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / RULES.name).write_text(RULES.read_text().replace("[5m]", "[12s]"))
    routes = (DEPLOY / "alertmanager/alertmanager.yml").read_text()
    for old, new in (
        ("group_wait: 30s", "group_wait: 1s"),
        ("group_interval: 5m", "group_interval: 1s"),
        ("http://127.0.0.1:9095", f"http://127.0.0.1:{receiver.server_address[1]}"),
    ):
        assert old in routes
        routes = routes.replace(old, new)
    (tmp_path / "alertmanager.yml").write_text(routes)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with ExitStack() as stack:
        stack.callback(receiver.server_close)
        stack.callback(receiver.shutdown)
        stack.enter_context(
            running(
                "prometheus-alertmanager",
                tmp_path,
                f"http://127.0.0.1:{alertmanager}/-/ready",
                *("--config.file=alertmanager.yml", f"--web.listen-address=127.0.0.1:{alertmanager}"),
                *("--cluster.listen-address=", "--storage.path=alerts"),
            )
        )
        stack.enter_context(
            running(
                "prometheus",
                tmp_path,
                f"http://127.0.0.1:{prometheus}/-/ready",
                *("--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{prometheus}"),
                *("--storage.tsdb.path=data", "--web.console.templates=.", "--web.console.libraries=."),
            )
        )

        def query(expression: str) -> list[Any]:
            url = f"http://127.0.0.1:{prometheus}/api/v1/query"
            result: list[Any] = httpx.get(url, params={"query": expression}).json()["data"]["result"]
            return result

        assert eventually(lambda: query('edgeinfer_worker_restarts_total{job="edgeinfer"} == 0'), 30)
        assert query('edgeinfer_kv_usage{job="edgeinfer"} <= 1')
        assert all(query(f"edgeinfer_{name}") for name, _, _ in ENGINE_GAUGES.values())
        os.kill(httpx.get(f"{daemon.url}/status").json()["worker_pid"], signal.SIGKILL)
        alert = "EdgeinferEngineRestarting"
        assert eventually(lambda: (alert, "firing") in receiver.seen, 60), receiver.seen
        assert eventually(lambda: (alert, "resolved") in receiver.seen, 90), receiver.seen
