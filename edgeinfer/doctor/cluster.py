"""This machine's node of a cluster: its token, its process, and what it shows to the network."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from edgeinfer.cluster.node import NodeFolder, NodeRecord
from edgeinfer.doctor.finding import Finding
from edgeinfer.server.http.sockets import is_loopback

CHECK = "cluster"

RUNS_PROGRAMS = {8265: "Ray's dashboard", 10001: "Ray's server for remote clients"}
"""Ports of Ray through which whoever reaches them can run programs."""

FIREWALL = "docs/security.md, Between the nodes of a fleet"


def check_cluster(folder: NodeFolder, listening: Callable[[], Iterable[tuple[str, int]]]) -> list[Finding]:
    """Check the node of `folder`; nothing if there is none. `listening` returns the addresses of Ray's programs."""
    if not folder.root.exists():
        return []
    record = folder.record()
    findings = _secrets(folder)
    if record is None:
        if (folder.root / "node.json").exists():
            text = "this machine's node has ended without leaving the cluster"
            findings.append(
                Finding(CHECK, "error", text, f"its last words: tail {folder.log}; then join again")
            )
        return findings
    if find_spec("ray") is None:
        text = "Ray, with which this machine's node was started, is not installed any more"
        return [*findings, Finding(CHECK, "error", text, 'pip install "edgeinfer[cluster]"')]
    findings += _exposure(record, listening())
    return findings or [Finding(CHECK, "ok", _summary(record))]


def listening() -> list[tuple[str, int]]:
    """The addresses on which programs of Ray listen, as far as this user can see them."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if "ray" in " ".join(process.cmdline()[:3]):
                found += [
                    (connection.laddr.ip, connection.laddr.port)
                    for connection in process.net_connections("tcp")
                    if connection.status == psutil.CONN_LISTEN
                ]
    return found


def _secrets(folder: NodeFolder) -> list[Finding]:
    findings = []
    for path in (folder.token, folder.root):
        with contextlib.suppress(OSError):
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                text = f"other users can reach {path}, and the token lets them run programs on all nodes"
                findings.append(Finding(CHECK, "error", text, f"chmod go= {path}"))
    return findings


def _exposure(record: NodeRecord, listening: Iterable[tuple[str, int]]) -> list[Finding]:
    listening = sorted(set(listening))
    findings = [
        Finding(
            CHECK,
            "error",
            f"{RUNS_PROGRAMS[port]} listens on {ip}:{port}, and runs whatever program it is sent",
            "stop it: it is not a part of edgeinfer's clusters",
        )
        for ip, port in listening
        if port in RUNS_PROGRAMS and not is_loopback(ip)
    ]
    everywhere = sorted({port for ip, port in listening if ip in ("0.0.0.0", "::")})
    if everywhere and not is_loopback(record.ip):
        text = (
            f"Ray listens on every address of this machine, not only on {record.ip}; its ports ask for the token "
            f"({', '.join(map(str, everywhere))})"
        )
        hint = f"let only the other nodes reach them: {FIREWALL}"
        findings.append(Finding(CHECK, "note", text, hint))
    if record.tls is None and not is_loopback(record.ip):
        text = "nodes speak in the clear: whoever is in their network can read prompts, answers and the token"
        findings.append(Finding(CHECK, "warning", text, "start all nodes with --tls FOLDER, or use a VPN"))
    if record.tls and (Path(record.tls) / "node.key").stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        path = Path(record.tls) / "node.key"
        text = f"other users can read {path}, with which this node proves what it is"
        findings.append(Finding(CHECK, "error", text, f"chmod 600 {path}"))
    return findings


def _summary(record: NodeRecord) -> str:
    role = "the head" if record.head else "a node"
    return f"this machine is {role} of the cluster at {record.address}"
