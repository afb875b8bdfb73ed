"""The Dockerfile, and the compose file with everything around a daemon; no container is run here."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.debian_programs import find_folder
from tests.support.paths import ROOT

DOCKER = ROOT / "deploy/docker"
COMPOSE = DOCKER / "compose.yml"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


@pytest.mark.slow
def test_the_compose_file_is_one() -> None:
    """By the specification's own schema."""
    schema = json.loads((find_folder("compose-schema") / "compose/config/compose_spec.json").read_text())
    found = compose()
    assert found.pop("name") == "edgeinfer", "which the schema of 2021 does not know"
    jsonschema.validate(found, schema, cls=jsonschema.Draft7Validator)


def test_every_file_that_it_mounts_is_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in compose()["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert len(mounted) == 5
    assert [path for path in mounted if not (DOCKER / path).exists()] == []


def test_only_this_machine_reaches_its_ports() -> None:
    ports = [port for service in compose()["services"].values() for port in service["ports"]]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    assert len({port.split(":")[1] for port in ports}) == len(ports)


def test_it_has_no_password_and_no_key() -> None:
    """They are in files that git ignores, and that are not copied into the image."""
    assert set(compose()["secrets"]) == {"keys", "key", "grafana"}
    assert all(secret["file"].startswith("secrets/") for secret in compose()["secrets"].values())
    assert "/deploy/docker/secrets/" in (ROOT / ".gitignore").read_text().split()
    assert "deploy/docker/secrets" in (ROOT / ".dockerignore").read_text().split()


def test_a_stopping_container_may_finish_its_answers() -> None:
    from edgeinfer.settings import Settings

    assert float(compose()["services"]["edgeinfer"]["stop_grace_period"][:-1]) > Settings().drain_timeout


def test_prometheus_is_set_up_as_outside_of_containers() -> None:
    """But for addresses and the key."""
    inside = yaml.safe_load((DOCKER / "prometheus.yml").read_text())
    outside = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [job] = inside["scrape_configs"]
    assert job.pop("authorization") == {"credentials_file": "/run/secrets/key"}
    text = json.dumps(inside)
    text = text.replace("edgeinfer:11435", "127.0.0.1:11435").replace("alertmanager:9093", "127.0.0.1:9093")
    assert json.loads(text) == outside


def test_the_image_has_no_compiler_and_no_root() -> None:
    """What the last stage installs and says."""
    _, _, last = (DOCKER / "Dockerfile").read_text().rpartition("\nFROM ")
    installed = re.findall(r"install --yes --no-install-recommends (.+?) \\", last)
    assert installed == ["ca-certificates libgomp1 python3"]
    assert re.findall(r"^USER (.+)$", last, re.MULTILINE) == ["10001:10001"]
    assert last.index("USER") < last.index("ENTRYPOINT")
    assert "HEALTHCHECK" in last
    assert "pip install" not in last
