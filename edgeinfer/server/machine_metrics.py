"""The machine's figures as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from edgeinfer import __version__
from edgeinfer.hardware.gpu_use import GpuUse
from edgeinfer.server.http.certificate_end import certificate_end
from edgeinfer.server.machine_use import MachineReading

GPU_GAUGES: dict[str, tuple[str, Callable[[GpuUse], float | None]]] = {
    "memory_bytes": ("Memory of the GPU, or the RAM that it shares.", lambda gpu: gpu.memory),
    "memory_used_bytes": ("Memory of the GPU that is in use.", lambda gpu: gpu.memory_used),
    "utilization": ("Share of the time in which the GPU computed, 0 to 1.", lambda gpu: gpu.busy),
    "temperature_celsius": ("Temperature of the GPU.", lambda gpu: gpu.temperature),
    "power_watts": ("Power that the GPU draws.", lambda gpu: gpu.watts),
}


class MachineCollector(Collector):
    """Writes the last reading at each scrape; what is not known is left out."""

    def __init__(
        self, reading: Callable[[], MachineReading | None], certificate: Callable[[], Path | None]
    ) -> None:
        """`certificate`: the file of the daemon's own certificate, None without TLS."""
        self._reading = reading
        self._certificate = certificate

    def collect(self) -> Iterator[Metric]:
        yield _gauge("build_info", "1, and the version of edgeinfer.", [((__version__,), 1)], "version")
        if (path := self._certificate()) and (end := certificate_end(path)) is not None:
            text = "When the daemon's certificate ends, in seconds since 1970."
            yield _gauge("certificate_end_timestamp_seconds", text, [((), end)])
        if reading := self._reading():
            yield from (family for family in _families(reading) if family.samples)


def _families(reading: MachineReading) -> Iterator[Metric]:
    text = "When the figures of the machine were read, in seconds since 1970."
    yield _gauge("machine_read_timestamp_seconds", text, [((), reading.read)])
    ram = reading.memory
    yield _gauge(
        "memory_bytes",
        "RAM that the daemon may use, itself and with its workers.",
        [((), ram.limit or ram.total)],
    )
    yield _gauge("memory_available_bytes", "RAM that is free or can be freed.", [((), ram.available)])
    for name, (text, value) in GPU_GAUGES.items():
        samples = [((gpu.gpu, gpu.name), value(gpu)) for gpu in reading.gpus]
        yield _gauge(f"gpu_{name}", text, samples, "gpu", "name")
    warmest: dict[str, int] = {}
    for zone in reading.zones:
        warmest[zone.name] = max(zone.temperature, warmest.get(zone.name, zone.temperature))
    degrees = [((name,), degree) for name, degree in warmest.items()]
    yield _gauge("temperature_celsius", "Temperature of a sensor of the machine.", degrees, "sensor")
    throttled = [((name,), float(active)) for name, active in reading.throttled.items()]
    text = "1 while a mechanism slows the machine down because of heat or its power supply."
    yield _gauge("throttled", text, throttled, "mechanism")
    if reading.disk:
        yield _gauge("store_disk_bytes", "Size of the file system of the models.", [((), reading.disk.size)])
        yield _gauge(
            "store_disk_free_bytes", "Space left on the file system of the models.", [((), reading.disk.free)]
        )


def _gauge(
    name: str, text: str, samples: Iterable[tuple[tuple[str, ...], float | None]], *labels: str
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"edgeinfer_{name}", text, labels=labels)
    for values, figure in samples:
        if figure is not None:
            family.add_metric(values, figure)
    return family
