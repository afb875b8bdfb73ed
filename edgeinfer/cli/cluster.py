"""`edgeinfer cluster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgeinfer.cli.option_values import number

if TYPE_CHECKING:
    from edgeinfer.cluster.node import NodeFolder, NodeRecord

WORKER_PORTS = range(10002, 20000)
"""Those that Ray gives to its workers, of which it takes none for a head."""

Class = Annotated[
    str | None,
    typer.Option(
        "--class", metavar="NAME", help="Hardware class of this machine. Default: what its hardware says."
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Model to serve; each node takes its own quantization.")
]
Replicas = Annotated[
    str,
    typer.Option(
        metavar="N|all|auto",
        help="Replicas of each hardware class: a number, one on each node, or as many as the requests need.",
    ),
]
Engine = Annotated[bool, typer.Option("--engine/--no-engine", help="Compute answers on this machine.")]
Listen = Annotated[
    bool,
    typer.Option(
        "--listen/--no-listen", help="Listen for clients on this machine, as `edgeinfer serve` does."
    ),
]
Tls = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Encrypt what nodes say to each other: ca.crt, node.crt and node.key, on every node of the cluster.",
    ),
]
Port = Annotated[int, typer.Option(help="TCP port of the head.", **number(int, ge=1024, le=65535))]
Ip = Annotated[
    str | None,
    typer.Option(metavar="IP", help="This machine's address in the cluster. Default: that of its network."),
]


def up(
    model: Model = None,
    address: Annotated[
        str,
        typer.Option(metavar="IP", help="This machine's address, for other nodes; 127.0.0.1 keeps it alone."),
    ] = "127.0.0.1",
    port: Port = 6380,
    replicas: Replicas = "all",
    hardware_class: Class = None,
    engine: Engine = True,
    listen: Listen = True,
    tls: Tls = None,
    redis: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Keep the cluster's state in this Redis, and not on the head's disk."
        ),
    ] = None,
    redis_password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The password of that Redis.")
    ] = None,
) -> None:
    """Start a cluster on this machine, which others can join.

    Examples:
      edgeinfer cluster up
      edgeinfer cluster up --address 192.0.2.10 --model qwen3-0.6b

    On each other machine:
      edgeinfer cluster join 192.0.2.10:6380 --token-file token
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment, node
    from edgeinfer.cluster.connection import connected
    from edgeinfer.cluster.redis import check_redis

    count = _replicas(replicas)
    if port in WORKER_PORTS:
        first, last = WORKER_PORTS[0], WORKER_PORTS[-1]
        raise typer.BadParameter(f"Ray's workers listen on {first} to {last}", param_hint="--port")
    folder = _idle_folder()
    password = redis_password_file.read_text().strip() if redis_password_file else ""
    if redis:
        check_redis(redis, password)
    elif redis_password_file:
        raise typer.BadParameter("there is no --redis that it is for", param_hint="--redis-password-file")
    folder.make_token()
    folder.save_redis_password(password)
    name = (hardware_class or _detected_class()) if engine else ""
    where = f"{address}:{port}"
    record = node.NodeRecord(
        0, node.node_name(), where, address, name, True, _tls_folder(tls), node.sockets_folder(), redis
    )
    record = node.start(folder, record, listen=listen)
    with connected(folder, record):
        known = deployment.deployed()
        classes = dict.fromkeys([*known.classes, *([name] if engine else [])])
        settings = {**known.settings, **_settings(model)}
        deployment.deploy(deployment.FleetPlan(list(classes), count, settings, canary=known.canary))
    terminal.say(
        f"the cluster is up at {record.address}" + (f"; this node's class is {name}" if name else "")
    )
    terminal.say("edgeinfer cluster status shows when it answers")


def join(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The head's address and port.")],
    token_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The cluster's token, copied from the head.")
    ],
    ip: Ip = None,
    hardware_class: Class = None,
    engine: Engine = True,
    listen: Listen = False,
    tls: Tls = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Install the cluster's model from there first: an `edgeinfer mirror` in your network.",
        ),
    ] = None,
) -> None:
    """Let this machine join a cluster as a node.

    It answers with its own plan.

    Examples:
      edgeinfer cluster join 192.0.2.10:6380 --token-file token
      edgeinfer cluster join pi5:6380 --token-file token --mirror http://pi5:11436
    """
    from msgspec.structs import replace

    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment, node
    from edgeinfer.cluster.connection import connected
    from edgeinfer.cluster.weights import install_model

    folder = _idle_folder()
    folder.save_token(token_file.read_text().strip())
    name = (hardware_class or _detected_class()) if engine else ""
    own = ip or node.own_address(address)
    record = node.NodeRecord(
        0, node.node_name(), address, own, name, False, _tls_folder(tls), node.sockets_folder()
    )
    if mirror and engine:
        install_model(node.environment(folder, record), address, mirror)
    record = node.start(folder, record, listen=listen)
    with connected(folder, record):
        plan = deployment.deployed()
        if engine and name not in plan.classes:
            deployment.deploy(replace(plan, classes=[*plan.classes, name]))
    terminal.say(
        f"this machine has joined the cluster at {address}" + (f"; its class is {name}" if name else "")
    )


def down() -> None:
    """Take this machine out of the cluster.

    Its answers end first. On the head that ends the cluster.
    """
    from edgeinfer.cli import terminal
    from edgeinfer.cluster import node
    from edgeinfer.cluster.connection import connected
    from edgeinfer.cluster.leaving import leave
    from edgeinfer.errors import ServiceFailed

    folder, record = _running()
    if not record.head:
        try:
            with connected(folder, record) as ray:
                leave(ray, record.name)
        except ServiceFailed as e:  # the head is gone, and there is nobody to leave
            terminal.report_error(e)
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


def update(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model to serve from now on.")],
) -> None:
    """Replace the model of the whole cluster, node by node.

    Requests go on: nodes that have not got it yet answer with the old one. A canary of that model ends.

    Examples:
      edgeinfer cluster update qwen3-1.7b
    """
    from msgspec.structs import replace

    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment
    from edgeinfer.cluster.connection import connected

    folder, record = _running()
    with connected(folder, record):
        plan = deployment.deployed()
        canary = None if plan.canary and plan.canary.model == model else plan.canary
        deployment.deploy(replace(plan, settings={**plan.settings, "model": model}, canary=canary))
    terminal.say(f"the nodes change to {model}, one after the other")
    terminal.say("edgeinfer cluster status shows how far they are")


def canary(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Model to try; without it, the canary ends.")
    ] = None,
    weight: Annotated[
        float,
        typer.Option(help="Percentage of the conversations.", **number(float, ge=0, le=100)),
    ] = 10,
    replicas: Annotated[
        int, typer.Option(help="Nodes of each hardware class that load it.", **number(int, ge=1))
    ] = 1,
) -> None:
    """Try another model with a share of the conversations.

    Requests that name no model, or the cluster's, get it; answers say which it was.

    Examples:
      edgeinfer cluster canary qwen3-0.6b:Q8_0 --weight 5
      edgeinfer cluster canary
    """
    from msgspec.structs import replace

    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment
    from edgeinfer.cluster.canary import Canary
    from edgeinfer.cluster.connection import connected
    from edgeinfer.store.lookup import BUNDLED_MODEL

    folder, record = _running()
    with connected(folder, record):
        plan = deployment.deployed()
        if model == (plan.settings.get("model") or BUNDLED_MODEL):
            raise typer.BadParameter(f"{model} is what the cluster serves already", param_hint="MODEL")
        wanted = Canary(model, weight, replicas) if model else None
        deployment.deploy(replace(plan, canary=wanted))
    share = f"{model} gets {weight:g} % of the conversations once it is loaded"
    terminal.say(share if model else "there is no canary any more")


def config(
    classes: Annotated[
        list[str], typer.Argument(metavar="CLASS", help="Hardware classes, as nodes are labelled.")
    ],
    model: Model = None,
    replicas: Replicas = "all",
    canary: Annotated[str | None, typer.Option(metavar="NAME", help="Model to try beside it.")] = None,
    weight: Annotated[
        float,
        typer.Option(help="Percentage of the conversations for it.", **number(float, ge=0, le=100)),
    ] = 10,
) -> None:
    """Print a configuration file of Ray Serve.

    It is for `serve deploy` on a cluster that runs already.

    Examples:
      edgeinfer cluster config raspberry-pi-5-8gb rtx-3060-12gb > fleet.yaml
      serve deploy fleet.yaml
    """
    import msgspec

    from edgeinfer.cli import terminal
    from edgeinfer.cluster import deployment
    from edgeinfer.cluster.canary import Canary

    tried = Canary(canary, weight) if canary else None
    plan = deployment.FleetPlan(classes, _replicas(replicas), _settings(model), canary=tried)
    terminal.write(msgspec.yaml.encode(deployment.config(plan)).decode())


def _settings(model: str | None) -> dict[str, Any]:
    return {"model": model} if model else {}


def _tls_folder(folder: Path | None) -> str | None:
    from edgeinfer.cluster.node import tls_files

    if folder is None:
        return None
    tls_files(folder)
    return str(folder.resolve())


def _replicas(text: str) -> Literal["all", "auto"] | int:
    if text == "all":
        return "all"
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"{text!r} is not all, auto or a number above 0", param_hint="--replicas")


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
