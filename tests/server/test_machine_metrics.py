"""/metrics tells what the machine has in use: of recorded machines, and of this one over HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from edgeinfer import __version__
from edgeinfer.metrics import MODEL_STATES
from edgeinfer.server import machine_use
from edgeinfer.server.http.certificate_end import certificate_end
from edgeinfer.server.machine_metrics import MachineCollector
from edgeinfer.server.machine_use import MachineReading, MachineUse, read_machine
from edgeinfer.serving.model import ModelState
from tests.support.hardware import write
from tests.support.paths import TREES
from tests.support.server import Scripted, serving

Samples = dict[tuple[str, ...], float]


def parsed(text: str) -> Samples:
    """Name and values of the labels, without the prefix -> figure."""
    return {
        (sample.name.removeprefix("edgeinfer_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def exposed(reading: MachineReading | None, certificate: Path | None = None) -> Samples:
    registry = CollectorRegistry()
    registry.register(MachineCollector(lambda: reading, lambda: certificate))
    return parsed(generate_latest(registry).decode())


def test_a_machine_with_a_card(tmp_path: Path) -> None:
    found = exposed(read_machine(TREES / "rtx-3060-desktop", tmp_path / "not/yet/there"))
    card = ("nvidia0", "NVIDIA GeForce RTX 3060")
    assert found[("gpu_memory_bytes", *card)] == 12288 * 1024**2
    assert found[("gpu_memory_used_bytes", *card)] == 615 * 1024**2
    assert found[("gpu_utilization", *card)] == 0.61
    assert found[("gpu_temperature_celsius", *card)] == 57
    assert found[("gpu_power_watts", *card)] == 112.43
    assert 0 < found[("store_disk_free_bytes",)] <= found[("store_disk_bytes",)]
    assert 0 < found[("memory_available_bytes",)] < found[("memory_bytes",)]
    assert found[("build_info", __version__)] == 1


def test_a_board_that_is_hot_and_badly_supplied(tmp_path: Path) -> None:
    zone, fan = "sys/class/thermal/thermal_zone0", "sys/class/thermal/cooling_device0"
    files = {
        "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n",
        f"{zone}/type": "cpu-thermal\n",
        f"{zone}/temp": "84300\n",
        f"{fan}/type": "cpufreq-cpu0\n",
        f"{fan}/cur_state": "2\n",
        f"{fan}/max_state": "5\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    }
    found = exposed(read_machine(write(tmp_path, files), tmp_path))
    assert found[("temperature_celsius", "cpu-thermal")] == 84
    throttled = {name[1]: value for name, value in found.items() if name[0] == "throttled"}
    assert throttled == {
        "cpufreq-cpu0": 1,
        "under-voltage": 1,
        "frequency-cap": 0,
        "firmware": 1,
        "soft-temperature-limit": 0,
    }


@pytest.mark.parametrize("name", sorted(path.name for path in TREES.iterdir() if path.is_dir()))
def test_every_recorded_machine_can_be_exposed(name: str, tmp_path: Path) -> None:
    """No series comes twice, and nothing unknown is shown as zero."""
    found = exposed(read_machine(TREES / name, tmp_path))
    assert ("store_disk_bytes",) in found


def test_the_daemon_tells_of_itself_and_of_its_machine(tmp_path: Path) -> None:
    with serving(Scripted("a", "b"), store=str(tmp_path)) as served:
        served.chat()
        found = parsed(served.client.get("/metrics").text)
    assert found[("build_info", __version__)] == 1
    assert found[("store_disk_free_bytes",)] > 0
    assert abs(found[("machine_read_timestamp_seconds",)] - time.time()) < 60
    states = {name[2]: value for name, value in found.items() if name[0] == "model_state"}
    assert states == {state: float(state == "ready") for state in get_args(ModelState)}
    assert get_args(ModelState) == MODEL_STATES


async def test_a_probe_that_hangs_delays_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The event loop goes on, whoever asks gets the last reading, and only one thread hangs."""
    good, release, calls = read_machine(TREES / "pi5-8gb", tmp_path), threading.Event(), []

    def hang(root: Path, models: Path) -> MachineReading:
        calls.append(root)
        if len(calls) > 1:
            release.wait(30)
        return good

    monkeypatch.setattr(machine_use, "read_machine", hang)
    monkeypatch.setattr(machine_use, "MAX_AGE", 0.0)
    monkeypatch.setattr(machine_use, "PATIENCE", 0.05)
    use = MachineUse(lambda: tmp_path)
    shown = [use.last]
    await use.refresh()
    shown.append(use.last)
    await asyncio.gather(use.refresh(), use.refresh(), use.refresh())
    shown.append(use.last)
    monkeypatch.setattr(machine_use, "MAX_STALE", 0.0)
    shown.append(use.last)
    assert shown == [None, good, good, None], "what is long past is not shown as the present"
    assert len(calls) == 2
    release.set()


async def test_a_reading_serves_all_scrapes_of_some_seconds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []

    def count(root: Path, models: Path) -> MachineReading:
        calls.append(root)
        return read_machine(TREES / "pi5-8gb", tmp_path)

    monkeypatch.setattr(machine_use, "read_machine", count)
    use = MachineUse(lambda: tmp_path)
    await asyncio.gather(use.refresh(), use.refresh())
    await use.refresh()
    assert len(calls) == 1


CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=board.lan -nodes"


@pytest.mark.parametrize("days", [2, 30000])
def test_a_certificate_has_an_end(tmp_path: Path, days: int) -> None:
    """Also one that ends after 2049, which has another form of time."""
    cert = tmp_path / "cert.pem"
    command = [*CERTIFICATE.split(), "-days", str(days), "-out", str(cert), "-keyout", str(tmp_path / "key")]
    subprocess.run(command, check=True, capture_output=True)
    end = exposed(None, cert)[("certificate_end_timestamp_seconds",)]
    assert abs(end - time.time() - days * 86400) < 600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIQ=\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_broken_certificate_has_no_end(tmp_path: Path, text: str) -> None:
    cert = tmp_path / "cert.pem"
    cert.write_text(text)
    assert certificate_end(cert) is None
    assert certificate_end(tmp_path / "missing") is None
