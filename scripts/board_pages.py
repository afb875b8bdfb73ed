"""What `edgeinfer plan` says about recorded machines, as README.md and the pages in docs/boards/ quote it.

A page marks where a quotation goes, and scripts/docs fills it in:

    <!-- table -->                        every recorded machine
    <!-- table pi5-4gb pi5-8gb -->        some of them
    <!-- plan pi5-4gb -->                 the output of the command
    <!-- load pi5-4gb: card 104; NVMe 500 -->    how long the model takes to load, at so many MB/s

Each ends with `<!-- end -->`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Iterator
from pathlib import Path

from edgeinfer.cli.plan import plan
from edgeinfer.hardware import detect
from edgeinfer.plan import ModelChoice, choose
from edgeinfer.plan.available_options import model_options
from edgeinfer.plan.threads import cpu_list
from edgeinfer.settings import Settings

BOARDS = Path("docs/boards")
TREES = Path("tests/hardware/trees")

MACHINES = {
    "pi-zero-2": "Raspberry Pi Zero 2 W, 512 MB",
    "pi4-2gb": "[Raspberry Pi 4](raspberry-pi-4.md), 2 GB",
    "pi4-4gb": "[Raspberry Pi 4](raspberry-pi-4.md), 4 GB",
    "pi5-4gb": "[Raspberry Pi 5](raspberry-pi-5.md), 4 GB",
    "pi5-8gb": "[Raspberry Pi 5](raspberry-pi-5.md), 8 GB",
    "rk3566-4gb": "Radxa Zero 3W (RK3566), 4 GB",
    "orange-pi-5-8gb": "[Orange Pi 5](rk3588.md) (RK3588S), 8 GB, vendor's kernel",
    "orange-pi-5-mainline-8gb": "[Orange Pi 5](rk3588.md), 8 GB, mainline kernel",
    "rock-5b-16gb": "[Radxa Rock 5B](rk3588.md) (RK3588), 16 GB",
    "orangepi-zero3-4gb": "Orange Pi Zero 3, 4 GB",
    "jetson-orin-nano-8gb": "[Jetson Orin Nano Super](jetson.md), 8 GB",
    "jetson-nano-4gb": "[Jetson Nano](jetson.md), 4 GB, JetPack 4",
    "n100-mini-pc": "[mini PC, N100](laptop.md), 16 GB",
    "intel-hybrid-laptop": "[laptop, 4 P-cores and 8 E-cores](laptop.md), 16 GB",
    "ryzen-laptop": "[laptop, Ryzen 7840U](laptop.md), no card",
    "rtx-3060-laptop-6gb": "[laptop, RTX 3060](laptop.md), 6 GB",
    "rtx-4070-laptop-8gb": "[laptop, RTX 4070](laptop.md), 8 GB",
    "rtx-2060-6gb": "desktop, RTX 2060, 6 GB",
    "rtx-3060-desktop": "[desktop, RTX 3060](laptop.md), 12 GB",
    "rtx-3090-24gb": "[desktop, RTX 3090](laptop.md), 24 GB",
    "two-rtx-3090": "[desktop, two RTX 3090](laptop.md), 24 GB each",
    "amd-gpu-desktop": "desktop, Radeon RX 6700 XT, 12 GB",
    "strix-halo-128gb": "desktop, Ryzen AI Max+ 395, 128 GB",
    "a18-pro-macbook-8gb": "[MacBook, A18 Pro](mac.md), 8 GB",
    "m2-mac-16gb": "[MacBook, M2](mac.md), 16 GB",
    "amx-server": "server, 4 Xeon cores with AMX",
    "container-2cpu-2gb": "[container](container.md), 2 CPUs, 2 GB",
    "docker-pi4-4gb": "[Docker](container.md) on a Raspberry Pi 4, 4 GB",
    "docker-cgroup1-j4125-2gb": "[Docker](container.md), 2 CPUs of a Celeron J4125, 2 GB (cgroup v1)",
    "incus-lxc-cfs-4of16": "[Incus container](container.md), 4 cores of a Ryzen 7 5825U, 8 GB",
}
"""Record -> what a person calls it, with its page."""

QUOTATION = re.compile(r"(<!-- (table|plan|load)\b *([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)

HEAD = """\
| machine | model | quantization | threads | GPU layers | answers × context | memory, MB | tok/s |
|---|---|---|---|---|---|---|---|"""


def filled_in(page: Path) -> str:
    """Return a page with its quotations renewed; its path is relative to the repository."""
    return QUOTATION.sub(
        lambda match: f"{match[1]}{_quotation(match[2], match[3], page)}\n{match[4]}", page.read_text()
    )


def _quotation(kind: str, argument: str, page: Path) -> str:
    if kind == "plan":
        return _plan_output(argument)
    if kind == "load":
        record, _, places = argument.partition(": ")
        return "\n".join(_load_times(record, places))
    return "\n".join([HEAD, *(_row(record, page) for record in argument.split() or MACHINES)])


@functools.cache
def _choice(record: str) -> ModelChoice:
    return choose(detect(TREES / record), model_options(), Settings())


def _name(record: str, page: Path) -> str:
    """Return a machine's name, linked unless that is the page itself."""
    name = re.sub(rf"\[(.*?)\]\({page.name}\)", r"\1", MACHINES[record])
    return name if page.parent == BOARDS else name.replace("](", f"]({BOARDS}/")


def _row(record: str, page: Path) -> str:
    choice = _choice(record)
    config, memory, speed = choice.plan.llama, choice.plan.memory, choice.plan.speed.decode
    cpus = f" on CPUs {cpu_list(config.cpus)}" if config.cpus else ""
    cache = {
        "streams": f"{config.parallel} × {config.ctx}",
        "unified": f"{config.parallel} in {config.cells}",
    }[config.layout]
    gpu = f" + {memory.gpu / 1e6:.0f}" if memory.gpu and not memory.shared else ""
    cells = (
        _name(record, page),
        choice.option.model,
        choice.option.quant,
        f"{config.threads}{cpus}",
        {0: "–", -1: "all"}.get(config.gpu_layers, str(config.gpu_layers)),
        cache + ("" if config.kv_type == "f16" else f" {config.kv_type}"),
        f"{memory.needed / 1e6:.0f}{gpu}",
        f"{speed:.0f}" if speed else "?",
    )
    return f"| {' | '.join(cells)} |"


def _plan_output(record: str) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        plan(root=str(TREES / record))
    return f"```console\n$ edgeinfer plan --root {TREES / record}\n{output.getvalue()}```"


def _load_times(record: str, places: str) -> Iterator[str]:
    option = _choice(record).option
    yield f"| storage | at most | {option.label}, {option.size / 1e9:.2f} GB |"
    yield "|---|---|---|"
    for place in places.split("; "):
        name, _, rate = place.rpartition(" ")
        seconds = option.size / 1e6 / int(rate)
        yield (
            f"| {name} | {rate} MB/s | {seconds:.0f} s |"
            if seconds > 9.5
            else f"| {name} | {rate} MB/s | {seconds:.1f} s |"
        )
