"""What the doctor says of a node of a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeinfer.cluster.node import NodeFolder, NodeRecord
from edgeinfer.doctor.cluster import check_cluster
from edgeinfer.doctor.finding import Finding


@pytest.fixture
def folder(tmp_path: Path) -> NodeFolder:
    """That of a head alone on this machine, whose process is this one."""
    folder = NodeFolder(tmp_path / "cluster")
    folder.make_token()
    folder.save(record())
    return folder


def record(ip: str = "127.0.0.1", pid: int = os.getpid(), tls: str | None = None) -> NodeRecord:
    return NodeRecord(pid, "n", f"{ip}:6380", ip, "board", True, tls)


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_a_machine_without_a_cluster_has_nothing_to_report(tmp_path: Path) -> None:
    assert [] == check_cluster(NodeFolder(tmp_path / "none"), list)


def test_a_sound_node_is_named(folder: NodeFolder) -> None:
    (finding,) = check_cluster(folder, lambda: [("0.0.0.0", 40000)])
    assert ("ok", "this machine is the head of the cluster at 127.0.0.1:6380") == (
        finding.level,
        finding.text,
    )


def test_a_token_that_others_can_read_is_an_error(folder: NodeFolder) -> None:
    folder.token.chmod(0o644)
    (finding,) = check_cluster(folder, list)
    assert ("error", f"chmod go= {folder.token}") == (finding.level, finding.fix)


def test_a_node_that_has_ended_is_an_error(folder: NodeFolder) -> None:
    """Such as after a restart of the machine."""
    folder.save(record(pid=2**22 + 1))
    assert ["error"] == levels(check_cluster(folder, list))


@pytest.mark.parametrize("port", [8265, 10001])
def test_a_port_that_runs_programs_is_an_error_on_an_open_address(folder: NodeFolder, port: int) -> None:
    assert ["error"] == levels(check_cluster(folder, lambda: [("0.0.0.0", port)]))
    assert ["ok"] == levels(check_cluster(folder, lambda: [("127.0.0.1", port)]))


def test_nodes_that_speak_in_the_clear_are_a_warning(folder: NodeFolder, tmp_path: Path) -> None:
    """Unless they have certificates, whose key is a secret."""
    folder.save(record("192.0.2.10"))
    assert ["warning"] == levels(check_cluster(folder, list))
    (tmp_path / "node.key").touch(0o600)
    folder.save(record("192.0.2.10", tls=str(tmp_path)))
    assert ["ok"] == levels(check_cluster(folder, list))
    (tmp_path / "node.key").chmod(0o644)
    assert ["error"] == levels(check_cluster(folder, list))


def test_ports_on_every_address_are_named_for_the_firewall(folder: NodeFolder, tmp_path: Path) -> None:
    """Ray listens on no single one, except on loopback."""
    (tmp_path / "node.key").touch(0o600)
    folder.save(record("192.0.2.10", tls=str(tmp_path)))
    (finding,) = check_cluster(folder, lambda: [("::", 6380), ("0.0.0.0", 40000), ("192.0.2.10", 40001)])
    assert "note" == finding.level
    assert finding.text.endswith("its ports ask for the token (6380, 40000)")
