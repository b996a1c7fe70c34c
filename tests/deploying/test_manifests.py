"""Manifests and Helm values: valid by the schemas of those who read them, and true of what they start."""

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml
from airflow.configuration import conf

from deploying.manifests import DEPLOY, KUBERNETES, objects, pod_of, the, values
from vectorferry import __version__
from vectorferry.cli.app import app
from vectorferry.spec.limits import Limits

OBJECTS = dict(objects())
PODS = {name: pod for name, each in OBJECTS.items() if (pod := pod_of(each))}
OURS = {
    name: each
    for name, pod in PODS.items()
    for each in pod["containers"]
    if each["image"].endswith(f"/vectorferry:{__version__}")
}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_is_valid_by_the_schema_of_kubernetes(name: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_the_values_are_valid_by_the_schema_of_the_chart() -> None:
    """AIRFLOW_CHART names an unpacked chart (`helm pull apache-airflow/airflow --untar`); Helm itself does this at each installation."""
    if not (chart := os.environ.get("AIRFLOW_CHART")):
        pytest.skip("AIRFLOW_CHART names no chart")
    schema = json.loads((Path(chart) / "values.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(values())
    unknown = [path for path in paths(values()) if not is_known(schema, path)]
    assert unknown == []


def paths(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [path]
    return [found for key, each in value.items() for found in paths(each, (*path, key))]


def is_known(schema: Any, path: tuple[str, ...]) -> bool:
    """Whether the schema describes a value, or lets everything in there: at its root it forbids no name."""
    for key in path:
        if "properties" not in schema or key not in schema["properties"]:
            return "properties" not in schema or isinstance(schema.get("additionalProperties"), dict)
        schema = schema["properties"][key]
    return True


def test_every_setting_of_the_values_is_one_that_airflow_has() -> None:
    known = conf.configuration_description
    for section, settings in values()["config"].items():
        if section != "vectorferry":
            assert set(settings) <= set(known[section]["options"]), section


@pytest.mark.parametrize("name", OURS)
def test_a_command_is_one_that_the_command_line_takes(name: str) -> None:
    program, *arguments = OURS[name]["command"]
    assert program == "vectorferry"
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    assert command.make_context(program, arguments).params


def test_a_gateway_has_time_to_end_as_it_should() -> None:
    pod = pod_of(the("Deployment", "vectorferry-gateway"))
    [gateway] = pod["containers"]
    drain = next(float(each.removeprefix("--drain=")) for each in gateway["command"] if each.startswith("--drain="))
    before = float(gateway["lifecycle"]["preStop"]["exec"]["command"][1])
    leaving = Limits().request_deadline.total_seconds() + 1
    assert pod["terminationGracePeriodSeconds"] > before + drain + leaving


def test_a_node_that_is_drained_leaves_a_gateway_that_serves() -> None:
    deployment, budget = the("Deployment", "vectorferry-gateway"), the("PodDisruptionBudget", "vectorferry-gateway")
    assert deployment["spec"]["replicas"] > budget["spec"]["minAvailable"] >= 1
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    selected = budget["spec"]["selector"]["matchLabels"]
    assert selected == the("Service", "vectorferry-gateway")["spec"]["selector"]
    assert selected.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_images_are_pinned_and_ours_is_of_this_version() -> None:
    images = {container["image"] for pod in PODS.values() for container in pod["containers"]}
    airflow = values()["images"]["airflow"]
    images |= {f"{airflow['repository']}:{airflow['tag']}"}
    for image in images:
        _, _, tag = image.rpartition(":")
        assert re.match(r"\d+\.\d+", tag), image
        assert "/vectorferry:" not in image or tag == __version__, image


def test_no_file_has_a_secret_and_each_pod_runs_with_few_rights() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (*KUBERNETES, DEPLOY / "helm" / "values.yaml"))
    assert "kind: Secret" not in text
    for name, pod in PODS.items():
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            for variable in container.get("env", ()):
                assert "PASSWORD" not in variable["name"] or "value" not in variable, name
    for name, container in OURS.items():
        assert PODS[name]["securityContext"]["runAsNonRoot"], name
        assert container["securityContext"]["readOnlyRootFilesystem"], name


def test_what_a_pod_mounts_is_there() -> None:
    made = {(each["kind"], each["metadata"]["name"]) for each in OBJECTS.values()}
    for name, pod in PODS.items():
        for volume in pod.get("volumes", ()):
            if config := volume.get("configMap"):
                assert ("ConfigMap", config["name"]) in made or config["name"] == "vectorferry-migrations", name
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in made, name


def test_a_queue_of_the_values_has_workers() -> None:
    sets = values()["workers"]["celery"]["sets"]
    assert [each["queue"] for each in sets] == ["near-target"]
    assert yaml.safe_load(values()["extraEnvFrom"]) == [{"secretRef": {"name": "vectorferry-connections"}}]
