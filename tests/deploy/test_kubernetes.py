"""The manifests and the chart: built by Kustomize and by Helm, and held against the schemas of all kinds."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import tempfile
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import jsonschema
import pytest
import yaml  # type: ignore[import-untyped]

from edgeinfer import settings
from edgeinfer.metrics import ENGINE_GAUGES
from tests.support.debian_programs import find_module, find_program
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow

KUBERNETES = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm/edgeinfer"
FOLDERS = sorted(path.parent.name for path in KUBERNETES.glob("*/kustomization.yaml"))
VERSION = "1.37"

SCHEMAS = Path(__file__).parent / "schemas"
CUSTOM = {path.stem for path in SCHEMAS.glob("*.json")}
"""Kinds that others define; scripts/crd-schema writes their schemas."""

EVERYTHING: dict[str, Any] = {
    "ingress": {"enabled": True},
    "route": {"enabled": True},
    "monitoring": {"enabled": True},
    "storage": {"className": "fast"},
    "nodeSelector": {"disk": "nvme"},
    "tolerations": [{"key": "board", "operator": "Exists"}],
    "settings": {"drain_timeout": 300, "log_level": "debug", "parallel": 2},
}

Objects = list[dict[str, Any]]


def built(name: str) -> Objects:
    """What Kustomize makes of a folder."""
    return list(yaml.safe_load_all(kustomize(name)))


@functools.cache
def kustomize(name: str) -> str:
    done = run("kubectl", "kustomize", KUBERNETES / name)
    assert done.returncode == 0, done.stderr
    return done.stdout


def helm(command: str, *arguments: str | Path, values: dict[str, Any] | None) -> CompletedProcess[str]:
    """Run a command of Helm on the chart."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        return run("helm", command, *arguments, CHART, "--values", file.name, "--namespace", "edgeinfer")


def rendered(values: dict[str, Any] | None = None, name: str = "edgeinfer") -> Objects:
    """What Helm makes of the chart."""
    done = helm("template", name, values=values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def run(program: str, *arguments: str | Path) -> CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as home:
        words = [str(find_program(program)), *map(str, arguments)]
        return subprocess.run(words, env={"HOME": home}, capture_output=True, text=True, check=False)


def check(objects: Objects) -> None:
    """Hold objects against the schemas of their kinds."""
    for one in objects:
        if one["kind"] in CUSTOM:
            check_custom(one)
        else:
            check_builtin(one)


def check_builtin(one: dict[str, Any]) -> None:
    find_module("kubernetes_validate", "kubernetes-schemas").validate(one, VERSION, strict=True)


def check_custom(one: dict[str, Any]) -> None:
    """Where it describes pods, they are held against Kubernetes' own schema."""
    found = json.loads((SCHEMAS / f"{one['kind']}.json").read_text())
    assert one["apiVersion"] == found["apiVersion"]
    jsonschema.Draft7Validator(found["schema"]).validate(one)
    for template in templates(one):
        check_builtin({"apiVersion": "v1", "kind": "Pod", "metadata": {}, **template})


def templates(part: Any) -> Objects:
    """All descriptions of pods in a part of an object."""
    if isinstance(part, list):
        return [found for item in part for found in templates(item)]
    if not isinstance(part, dict):
        return []
    here = [value for name, value in part.items() if name == "template" and "spec" in value]
    return [*here, *(found for value in part.values() for found in templates(value))]


def pods(objects: Objects) -> Objects:
    return [one["spec"]["template"]["spec"] for one in objects if one["kind"] in ("StatefulSet", "DaemonSet")]


@pytest.mark.parametrize("name", FOLDERS)
def test_kustomize_builds_what_kubernetes_takes(name: str) -> None:
    objects = built(name)
    check(objects)
    assert {one["metadata"].get("namespace", "edgeinfer") for one in objects} == {"edgeinfer"}


@pytest.mark.parametrize("name", ["base", "boards"])
def test_pods_are_restricted_and_end_their_answers(name: str) -> None:
    """As the namespace's label asks for, and with time enough."""
    objects = built(name)
    [pod] = pods(objects)
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    paths = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/ready", "readiness": "/ready", "liveness": "/health"}
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + drain_timeout(objects) + 15


def drain_timeout(objects: Objects) -> int:
    [config] = [one["data"]["config.toml"] for one in objects if "config.toml" in one.get("data", {})]
    [found] = re.findall(r"drain_timeout = (\d+)", config)
    return int(found)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_daemon_takes_the_settings_in_the_manifests(tmp_path: Path, values: dict[str, Any]) -> None:
    for objects in (built("base"), rendered(values)):
        [config] = [one["data"]["config.toml"] for one in objects if "config.toml" in one.get("data", {})]
        file = tmp_path / "config.toml"
        file.write_text(config)
        loaded = settings.load(environ={"EDGEINFER_CONFIG": str(file)}).settings
        assert loaded.host == "0.0.0.0"
        assert loaded.api_key_file == "/etc/edgeinfer-keys/keys"


def test_the_chart_makes_what_the_base_makes() -> None:
    """But for what Helm adds."""

    def plain(objects: Objects) -> dict[tuple[str, str], dict[str, Any]]:
        for one in objects:
            one["metadata"].pop("namespace", None)
            for label in ("app.kubernetes.io/managed-by", "helm.sh/chart"):
                one["metadata"]["labels"].pop(label, None)
            if one["kind"] == "StatefulSet":
                template = one["spec"]["template"]
                template["metadata"].pop("annotations", None)
                template["spec"]["containers"][0].pop("imagePullPolicy", None)
            if one["kind"] == "ConfigMap":
                text = one["data"]["config.toml"]
                one["data"]["config.toml"] = sorted(line for line in text.splitlines() if line[:1] != "#")
        return {(one["kind"], one["metadata"]["name"]): one for one in objects if one["kind"] != "Namespace"}

    assert plain(rendered()) == plain(built("base"))


@pytest.mark.parametrize("kind", ["", "hpa", "keda"])
@pytest.mark.parametrize("name", ["edgeinfer", "other"])
def test_the_chart_renders_what_kubernetes_takes(kind: str, name: str) -> None:
    objects = rendered({**EVERYTHING, "autoscaling": {"kind": kind}}, name)
    check(objects)
    assert CUSTOM & {one["kind"] for one in objects} == {"HTTPRoute", "PrometheusRule", "ServiceMonitor"} | (
        {"ScaledObject"} if kind == "keda" else set()
    )
    assert {one["metadata"]["name"].partition("-")[0] for one in objects} == {name}
    [pod] = pods(objects)
    assert pod["terminationGracePeriodSeconds"] == 330
    [stateful] = [one for one in objects if one["kind"] == "StatefulSet"]
    assert ("replicas" in stateful["spec"]) == (kind == ""), "what scales it must not be undone by an upgrade"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("HTTPRoute", {"rules": [{"timeouts": {"request": "an hour"}}]}),
        ("HTTPRoute", {"hostname": "ai.example"}),
        ("InferencePool", {"targetPorts": [{"number": 70000}]}),
        ("PrometheusRule", {"groups": [{"rules": []}]}),
        ("RayService", {"rayClusterConfig": {}}),
        ("ScaledObject", {"triggers": []}),
        ("ServiceMonitor", {"endpoints": [{"port": 80}]}),
    ],
)
def test_what_an_operator_would_refuse_is_refused_here(kind: str, wrong: dict[str, Any]) -> None:
    """The schemas have what these kinds say of types, limits and names."""
    [one] = [one for name in FOLDERS for one in built(name) if one["kind"] == kind][:1]
    check([one])
    with pytest.raises(jsonschema.ValidationError):
        check([{**one, "spec": {**one["spec"], **wrong}}])


def test_pods_in_other_kinds_are_checked_as_pods() -> None:
    [service] = built("ray")
    worker = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    worker["template"]["spec"]["containers"][0]["port"] = 80
    with pytest.raises(find_module("kubernetes_validate", "kubernetes-schemas").ValidationError):
        check([service])


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_the_chart_has_no_findings(values: dict[str, Any]) -> None:
    done = helm("lint", "--strict", values=values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize(
    "values", [{"settings": {"host": "127.0.0.1"}}, {"replica": 2}, {"autoscaling": {"kind": "cpu"}}]
)
def test_a_value_that_does_not_exist_is_refused(values: dict[str, Any]) -> None:
    done = helm("template", "edgeinfer", values=values)
    assert done.returncode == 1
    assert "values don't meet the specifications of the schema" in done.stderr


def test_the_operators_rules_are_prometheus_own() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/edgeinfer.rules.yml").read_text())
    [kustomized] = [one for one in built("monitoring") if one["kind"] == "PrometheusRule"]
    [charted] = [one for one in rendered(EVERYTHING) if one["kind"] == "PrometheusRule"]
    assert kustomized["spec"] == rules, "run scripts/kubernetes-rules"
    assert charted["spec"] == rules, "run scripts/kubernetes-rules"


def test_gateways_read_gauges_that_exist() -> None:
    [config] = [one for one in built("inference-pool") if one["kind"] == "ConfigMap"]
    [plugin] = yaml.safe_load(config["data"]["config.yaml"])["plugins"]
    [engine] = plugin["parameters"]["engineConfigs"]
    known = {f"edgeinfer_{name}" for name, _, _ in ENGINE_GAUGES.values()} | {"edgeinfer_kv_usage"}
    assert {value for name, value in engine.items() if name.endswith("Spec")} <= known
    [stateful] = [one for one in built("base") if one["kind"] == "StatefulSet"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    assert labels["llm-d.ai/engine-type"] == engine["name"]


def test_the_fleet_on_ray_is_what_edgeinfer_itself_deploys() -> None:
    from edgeinfer.cluster.deployment import FleetPlan, config
    from edgeinfer.cluster.labels import CLASS, INGRESS

    [service] = built("ray")
    ray = service["spec"]["rayClusterConfig"]
    [workers] = ray["workerGroupSpecs"]
    name = workers["groupName"]
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == config(FleetPlan([name], workers["replicas"]))
    assert workers["rayStartParams"] == {"labels": f"{CLASS}={name}"}
    assert ray["headGroupSpec"]["rayStartParams"]["labels"] == f"{INGRESS}=yes"
    assert f'"ray[default]~={ray["rayVersion"]}"' in (ROOT / "pyproject.toml").read_text()
