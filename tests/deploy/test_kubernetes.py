"""The manifests are valid by the published schemas, hang together, and promise what the rest of production does."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from deploy.local.reverse_proxy import VARIABLES
from shared.roles import ROLES
from shared.runtime.process import STOP_DEADLINE_S
from tests.deploy.compose import load_compose
from tests.programs import find, needs

FILES = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE, EXAMPLE, ALERTS = FILES / "base", FILES / "overlays" / "example", FILES / "components" / "alerts"
OURS = (*ROLES, "server")
# Of the operator's own kinds no package ships the schema: what we rely on is checked by name below.
OPERATORS = "postgresql.cnpg.io/v1"


def objects(folder: Path) -> Iterator[dict[str, Any]]:
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    for name in listed:
        if (folder / name).is_file():
            yield from yaml.safe_load_all((folder / name).read_text())


def named(found: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


OBJECTS = named([*objects(BASE), *objects(EXAMPLE), *objects(ALERTS)])


def pod(name: str, kind: str = "Deployment") -> dict[str, Any]:
    found: dict[str, Any] = OBJECTS[kind, name]["spec"]["template"]["spec"]
    return found


def container(name: str, kind: str = "Deployment") -> dict[str, Any]:
    (found,) = pod(name, kind)["containers"]
    return dict(found)


def environment(name: str) -> dict[str, Any]:
    return {each["name"]: each.get("value") or each["valueFrom"] for each in container(name)["env"]}


def check(found: dict[str, Any]) -> None:
    if found["apiVersion"] != OPERATORS:
        kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("key", OBJECTS, ids="-".join)
def test_an_object_is_valid_by_the_published_schema(key: tuple[str, str]) -> None:
    check(OBJECTS[key])


def test_every_file_is_listed() -> None:
    for folder in (BASE, EXAMPLE, ALERTS):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        files = {file.name for file in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert files == {name for name in listed if (folder / name).is_file()}


@pytest.mark.parametrize(("kind", "name"), [*(("Deployment", name) for name in OURS), ("Job", "migrate")])
def test_confines_each_process(kind: str, name: str) -> None:
    assert pod(name, kind)["automountServiceAccountToken"] is False
    assert pod(name, kind)["securityContext"]["runAsNonRoot"] is True
    assert container(name, kind)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container(name, kind)["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", OURS)
def test_replaces_a_process_only_once_the_new_one_is_known(name: str) -> None:
    spec = OBJECTS["Deployment", name]["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert OBJECTS["PodDisruptionBudget", name]["spec"]["maxUnavailable"] == 1
    for selector in (spec["selector"], OBJECTS["PodDisruptionBudget", name]["spec"]["selector"]):
        assert selector["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    service = OBJECTS["Service", name]["spec"]
    assert service["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert {"readinessProbe", "livenessProbe"} <= container(name).keys()


@pytest.mark.parametrize("service", ROLES)
def test_a_service_is_given_time_its_own_user_and_a_name_for_each_pod(service: str) -> None:
    assert OBJECTS["Deployment", service]["spec"]["minReadySeconds"] > 10  # names are kept for a few seconds
    assert pod(service)["terminationGracePeriodSeconds"] > STOP_DEADLINE_S + 5
    assert container(service)["args"] == [service]
    told = environment(service)
    assert told["DATABASE_URL"] == f"postgresql://rt_{service}@rt-postgres-rw:5432/rtserver"
    assert told["PGPASSWORD"]["secretKeyRef"] == {"name": f"rt-{service}-database", "key": "password"}
    assert OBJECTS["Service", service]["spec"]["clusterIP"] == "None"
    assert container(service)["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container(service)["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("service", ["gateway", "fanout"])
def test_services_with_devices_are_scaled_by_load_and_scaled_in_slowly(service: str) -> None:
    scaler = OBJECTS["HorizontalPodAutoscaler", service]["spec"]
    assert scaler["scaleTargetRef"]["name"] == service
    assert scaler["minReplicas"] >= 2
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 600
    assert "replicas" not in OBJECTS["Deployment", service]["spec"]  # or every apply would undo the scaling


def test_the_reverse_proxy_is_told_what_compose_tells_it() -> None:
    compose = load_compose({"POSTGRES_PASSWORD": "p"})["services"]["server"]
    told = environment("server")
    for name in ("UPSTREAMS", *VARIABLES.values()):
        assert told[name] == compose["environment"][name]
    assert container("server")["command"] == compose["entrypoint"]


def test_services_are_told_what_compose_tells_them() -> None:
    services = load_compose({"POSTGRES_PASSWORD": "p"})["services"]
    assert environment("gateway")["MAX_UNACKED_MIB"] == services["gateway"]["environment"]["MAX_UNACKED_MIB"]


def test_a_commit_is_on_two_servers_before_it_is_acknowledged() -> None:
    cluster = OBJECTS["Cluster", "rt-postgres"]["spec"]
    assert cluster["instances"] == 3
    assert cluster["postgresql"]["synchronous"] == {
        "method": "any",
        "number": 1,
        "dataDurability": "required",
    }
    assert not cluster["postgresql"]["parameters"].keys() & {
        "fsync",
        "synchronous_commit",
        "full_page_writes",
    }
    users = {role["name"]: role["passwordSecret"]["name"] for role in cluster["managed"]["roles"]}
    assert users == {f"rt_{service}": f"rt-{service}-database" for service in ROLES}


def test_services_reach_the_database_alone_and_the_api_the_world_only_with_the_component_of_alerts() -> None:
    services = OBJECTS["NetworkPolicy", "services"]["spec"]
    assert services["policyTypes"] == ["Ingress", "Egress"]
    assert [[port["port"] for port in each["ports"]] for each in services["egress"]] == [[5432], [53, 53]]
    (only,) = [
        values
        for each in services["podSelector"]["matchExpressions"]
        for values in [each["values"]]
        if "api" in values
    ]
    assert set(only) == set(ROLES)
    listed = (
        yaml.safe_load((BASE / "kustomization.yaml").read_text()),
        yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text()),
    )
    assert not [each for each in listed if "components" in each]
    out = OBJECTS["NetworkPolicy", "alerts"]["spec"]
    assert out["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "api"
    assert out["policyTypes"] == ["Egress"]
    assert [to["ipBlock"]["cidr"] for to in out["egress"][0]["to"]] == ["0.0.0.0/0", "::/0"]
    patch = yaml.safe_load(yaml.safe_load((ALERTS / "kustomization.yaml").read_text())["patches"][0]["patch"])
    assert patch[0]["value"]["name"] == "ALERT_URLS"


def test_the_example_makes_every_secret_that_is_asked_for() -> None:
    made = {
        each["name"]
        for each in yaml.safe_load((EXAMPLE / "kustomization.yaml").read_text())["secretGenerator"]
    }
    asked = {
        source["secretKeyRef"]["name"]
        for service in ROLES
        for source in environment(service).values()
        if isinstance(source, dict)
    }
    assert asked == made


@needs("kubectl")
def test_with_the_component_of_alerts_the_api_is_told_whom_to_tell(tmp_path: Path) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(FILES, copy)
    overlay = copy / "overlays" / "told"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "resources: [../../base]\ncomponents: [../../components/alerts]\n"
    )
    done = subprocess.run([*find("kubectl"), "kustomize", str(overlay)], capture_output=True, check=True)
    found = named(list(yaml.safe_load_all(done.stdout)))
    for each in found.values():
        check(each)
    (api,) = found["Deployment", "api"]["spec"]["template"]["spec"]["containers"]
    assert [each["valueFrom"]["secretKeyRef"] for each in api["env"] if each["name"] == "ALERT_URLS"] == [
        {"name": "rt-alert-urls", "key": "urls"}
    ]
    assert ("NetworkPolicy", "alerts") in found


@needs("kubectl")
def test_the_example_renders_to_valid_objects(tmp_path: Path) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(FILES, copy)
    example = copy / "overlays" / "example"
    for secret in ("api.token", *(f"{service}.password" for service in ROLES)):
        (example / secret).write_text("s")
    done = subprocess.run([*find("kubectl"), "kustomize", str(example)], capture_output=True, check=True)
    rendered = list(yaml.safe_load_all(done.stdout))
    for each in rendered:
        check(each)
    found = named(rendered)
    assert {each["metadata"].get("namespace") for each in rendered} == {"timing", None}
    assert found["HorizontalPodAutoscaler", "gateway"]["spec"]["minReplicas"] == 3
    images = {
        each["image"]
        for (kind, _), found in found.items()
        if kind in ("Deployment", "Job")
        for each in found["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.org/rt-server:0.1.0"}
