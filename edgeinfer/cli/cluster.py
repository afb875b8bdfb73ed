"""`edgeinfer cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    from edgeinfer.cluster.node import NodeFolder, NodeRecord

Class = Annotated[
    str | None,
    typer.Option(
        "--class", metavar="NAME", help="Hardware class of this machine. Default: what its hardware says."
    ),
]
Port = Annotated[int, typer.Option(help="TCP port of the head.", **number(int, ge=1024, le=65535))]
Ip = Annotated[
    str | None,
    typer.Option(metavar="IP", help="This machine's address in the cluster. Default: that of its network."),
]


def up(
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model to serve.")] = None,
    address: Annotated[
        str,
        typer.Option(metavar="IP", help="This machine's address, for other nodes; 127.0.0.1 keeps it alone."),
    ] = "127.0.0.1",
    port: Port = 6380,
    hardware_class: Class = None,
) -> None:
    """Start a cluster on this machine, and a node of it; others can join.

    Examples:
      edgeinfer cluster up
      edgeinfer cluster up --address 192.0.2.10 --model qwen3-0.6b

    On each other machine:
      edgeinfer cluster join 192.0.2.10:6380 --token-file token
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment, labels, node
    from edgeinfer.cluster.connection import connected

    folder = _idle_folder()
    folder.make_token()
    settings: dict[str, Any] = {"model": model} if model else {}
    name = hardware_class or _detected_class()
    record = node.NodeRecord(0, f"{address}:{port}", address, name, head=True)
    record = node.start(folder, record, {labels.CLASS: name, labels.INGRESS: "yes"})
    with connected(folder, record) as ray:
        deployment.deploy(deployment.FleetPlan(deployment.classes(ray.nodes()), settings))
    terminal.say(f"the cluster is up at {record.address}; this node's class is {name}")
    terminal.say("edgeinfer cluster status shows when it answers")


def join(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The head's address and port.")],
    token_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The cluster's token, copied from the head.")
    ],
    ip: Ip = None,
    hardware_class: Class = None,
) -> None:
    """Let this machine join a cluster as a node.

    It answers with its own plan.

    Examples:
      edgeinfer cluster join 192.0.2.10:6380 --token-file token
    """
    from msgspec.structs import replace

    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment, labels, node
    from edgeinfer.cluster.connection import connected

    folder = _idle_folder()
    folder.save_token(token_file.read_text().strip())
    name = hardware_class or _detected_class()
    record = node.NodeRecord(0, address, ip or node.own_address(address), name, head=False)
    record = node.start(folder, record, {labels.CLASS: name})
    with connected(folder, record) as ray:
        plan = deployment.deployed()
        deployment.deploy(replace(plan, classes=deployment.classes(ray.nodes())))
    terminal.say(f"this machine has joined the cluster at {address}; its class is {name}")


def down() -> None:
    """End this machine's node; on the head that ends the cluster."""
    from edgeinfer.cli import terminal
    from edgeinfer.cluster import node

    folder, record = _running()
    node.stop(folder, record)
    terminal.say("the cluster is down" if record.head else "this node has left the cluster")


def status(
    json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
) -> None:
    """Show the nodes of the cluster, and what each of them has loaded.

    Examples:
      edgeinfer cluster status
      edgeinfer cluster status --json
    """
    import asyncio

    import msgspec

    from edgeinfer.cli import terminal
    from edgeinfer.cluster.connection import connected

    folder, record = _running()
    with connected(folder, record) as ray:
        from edgeinfer.cluster.report import report

        found = asyncio.run(report(ray.nodes()))
    if json:
        terminal.write_json(msgspec.to_builtins(found))
    else:
        terminal.write("".join(line + "\n" for line in found.lines()))


def _detected_class() -> str:
    from edgeinfer.cluster.hardware_class import hardware_class
    from edgeinfer.hardware import detect

    return hardware_class(detect())


def _idle_folder() -> NodeFolder:
    from edgeinfer.cluster.node import NodeFolder
    from edgeinfer.errors import ServiceFailed

    _check_ray()
    folder = NodeFolder.default()
    if record := folder.record():
        raise ServiceFailed(
            f"this machine is a node of the cluster at {record.address} already",
            hint="edgeinfer cluster down ends it",
        )
    return folder


def _running() -> tuple[NodeFolder, NodeRecord]:
    from edgeinfer.cluster.node import NodeFolder
    from edgeinfer.errors import ServiceFailed

    _check_ray()
    folder = NodeFolder.default()
    record = folder.record()
    if record is None:
        raise ServiceFailed(
            "this machine is no node of a cluster",
            hint="edgeinfer cluster up begins one, edgeinfer cluster join ADDRESS joins one",
        )
    return folder, record


def _check_ray() -> None:
    from importlib.util import find_spec

    from edgeinfer.errors import ServiceFailed

    if find_spec("ray") is None:
        raise ServiceFailed("Ray is not installed", hint='pip install "edgeinfer[cluster]"')
