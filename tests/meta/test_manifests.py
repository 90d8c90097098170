"""The manifests agree with the program."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

import extip
from extip.addresses.reconciler import _OVERDUE, _SLOWEST_PASS_S
from extip.cli import cli
from extip.definitions.command import render
from extip.definitions.documents import definitions
from extip.manifests.folder import METRICS_READER
from extip.scrapes.reviewer import METRICS_PATH
from tests.meta.api_requests import api_requests
from tests.meta.manifests import (
    CONTAINERFILE,
    CRDS,
    KUSTOMIZATIONS,
    MANIFESTS,
    METRICS_AUTH,
    Workload,
    build,
    kubectl,
    workloads,
)

WORKLOADS = [workload for folder in KUSTOMIZATIONS for workload in workloads(folder)]
EACH = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.command)
ADDRESS_MODES = ("simple", "controller")
REVIEW_GROUPS = ("authentication.k8s.io", "authorization.k8s.io")
DEFINITIONS_GROUP = "apiextensions.k8s.io"
LEASES_GROUP = "coordination.k8s.io"
TIDY_S = 4.0
"""More than a controller takes after the drain: see `RELEASE_S`, `_STOP_S` and `_SHUTDOWN_S`."""


STOP_S = 2.0
"""An orderly stop takes no longer."""


def the(command: str) -> Workload:
    (workload,) = (workload for workload in WORKLOADS if workload.command == command)
    return workload


def params(workload: Workload) -> dict[str, Any]:
    """Return the command's parameters; raises click's own usage errors."""
    command = cli.get_command(click.Context(cli), workload.command)
    assert command is not None
    return command.make_context(workload.command, list(workload.flags)).params


def test_there_are_manifests_of_every_mode():
    modes = sorted(workload.command for workload in WORKLOADS)
    assert modes == ["controller", "scheduler", "simple"]


# What the manifests say about extip.


@EACH
def test_every_flag_is_one_that_the_command_takes(workload):
    assert params(workload)


@EACH
def test_rbac_grants_what_the_source_asks_for_and_nothing_else(workload):
    """But to make definitions: they are applied beside, and without them extip says what to run.

    And but to review tokens, which is an option.
    """
    asked = api_requests(f"extip.modes.{workload.command}")
    needed = {
        (group, resource, verb)
        for group, resource, verb in asked
        if group != DEFINITIONS_GROUP or verb == "get"
    }
    reviews = {one for one in needed if one[0] in REVIEW_GROUPS}
    assert workload.granted() == needed - reviews
    with_option = Workload(workload.manifest, [*workload.beside, *build(METRICS_AUTH)])
    assert with_option.granted() == needed
    assert {resource for _, resource, _ in reviews} == {"tokenreviews", "subjectaccessreviews"}


def test_the_option_of_tokens_has_an_account_that_may_read_metrics_and_nothing_else():
    built = {(one["kind"], one["metadata"]["name"]): one for one in build(METRICS_AUTH)}
    account = built["ServiceAccount", METRICS_READER]["metadata"]
    role = built["ClusterRole", METRICS_READER]
    assert role["rules"] == [{"nonResourceURLs": [METRICS_PATH], "verbs": ["get"]}]
    bound = built["ClusterRoleBinding", METRICS_READER]
    assert bound["roleRef"]["name"] == METRICS_READER
    subject = {"kind": "ServiceAccount", "name": METRICS_READER, "namespace": account["namespace"]}
    assert bound["subjects"] == [subject]
    secret = built["Secret", METRICS_READER]
    assert secret["metadata"]["namespace"] == account["namespace"]
    assert secret["metadata"]["annotations"] == {
        "kubernetes.io/service-account.name": METRICS_READER
    }
    assert subject not in built["ClusterRoleBinding", "extip-metrics-auth"]["subjects"]


@EACH
def test_leases_are_granted_in_the_own_namespace_alone(workload):
    here = workload.granted(["RoleBinding"])
    assert {group for group, _, _ in here} <= {LEASES_GROUP}
    assert LEASES_GROUP not in {group for group, _, _ in workload.granted(["ClusterRoleBinding"])}


def test_what_is_asked_for_is_found_in_classes_and_not_in_whole_modules():
    """The controller takes no more from the module of Leases and services than it uses."""
    asked = api_requests("extip.modes.controller")
    assert (LEASES_GROUP, "leases", "update") in asked
    assert (LEASES_GROUP, "leases", "list") not in asked
    assert ("", "services", "list") not in asked
    assert (LEASES_GROUP, "leases", "list") in api_requests("extip.modes.scheduler")
    assert ("", "services/status", "patch") in api_requests("extip.modes.scheduler")


@EACH
def test_probes_and_port_are_where_extip_serves(workload):
    """On loopback the probes name it; else extip serves on all addresses of the pod."""
    host, port = params(workload)["http"]
    assert host in ("", "127.0.0.1")
    assert (host == "127.0.0.1") == workload.pod.get("hostNetwork", False)
    (declared,) = workload.container["ports"]
    assert (declared.get("hostIP", ""), declared["containerPort"]) == (host, port)
    for probe in ("livenessProbe", "readinessProbe"):
        action = workload.container[probe]["httpGet"]
        assert (action.get("host", ""), action["port"]) == (host, declared["name"])


@EACH
def test_every_image_is_this_version_of_extip(workload):
    assert workload.container["image"] == f"extip:{extip.__version__}"
    assert f"-t extip:{extip.__version__} " in CONTAINERFILE.read_text()


@EACH
def test_a_workload_selects_its_own_pods_and_no_others(workload):
    def labels(of: Workload) -> dict[str, str]:
        found: dict[str, str] = of.manifest["spec"]["template"]["metadata"]["labels"]
        return found

    chosen = workload.manifest["spec"]["selector"]["matchLabels"]
    assert [w.command for w in WORKLOADS if chosen.items() <= labels(w).items()] == [
        workload.command
    ]


@pytest.mark.parametrize("command", ADDRESS_MODES)
def test_a_mode_with_addresses_has_two_powers_of_root_and_no_more(command):
    workload = the(command)
    assert workload.container["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    host = {key for key, value in workload.pod.items() if key.startswith("host") and value}
    assert host == {"hostNetwork"}
    assert workload.pod["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert "volumes" not in workload.pod


# Simple mode.


def test_simple_mode_is_one_pod_that_moves_soon():
    workload = the("simple")
    assert workload.manifest["spec"]["replicas"] == 1
    assert workload.manifest["spec"]["strategy"] == {"type": "Recreate"}
    waits = {
        toleration["key"].rpartition("/")[2]: toleration["tolerationSeconds"]
        for toleration in workload.pod["tolerations"]
    }
    assert waits.keys() == {"not-ready", "unreachable"}
    assert all(0 < seconds <= 10 for seconds in waits.values())


def test_a_hung_container_is_restarted_before_its_addresses_run_out():
    workload = the("simple")
    left_s = (
        2 * params(workload)["resync"] * 2 / 3
    )  # it hangs just before it would have refreshed them
    probe = workload.container["livenessProbe"]
    noticed_s = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    assert noticed_s < left_s - workload.pod["terminationGracePeriodSeconds"]


def test_a_container_whose_passes_hang_is_restarted_before_its_addresses_run_out():
    workload = the("simple")
    ttl_s = 2 * params(workload)["resync"]
    says_so_s = _OVERDUE * ttl_s / 3
    assert says_so_s > _SLOWEST_PASS_S
    probe = workload.container["livenessProbe"]
    assert says_so_s + probe["periodSeconds"] * probe["failureThreshold"] + STOP_S < ttl_s


# Claims mode.


def test_a_controller_runs_on_every_node_once_and_leaves_in_order():
    workload = the("controller")
    assert workload.manifest["kind"] == "DaemonSet"
    assert workload.pod["tolerations"] == [{"operator": "Exists"}]
    assert "nodeSelector" not in workload.pod
    update = workload.manifest["spec"]["updateStrategy"]
    assert (update["type"], update["rollingUpdate"]) == ("RollingUpdate", {"maxUnavailable": 1})
    drain_s = params(workload)["drain_timeout"]
    assert workload.pod["terminationGracePeriodSeconds"] > drain_s + TIDY_S


def test_a_controller_has_the_name_of_its_node():
    workload = the("controller")
    assert params(workload)["hostname"] == "$(NODE_NAME)"
    assert workload.arguments("node-7.example")[1:].count("--hostname=node-7.example") == 1


def test_two_schedulers_elect_a_leader_on_different_nodes():
    workload = the("scheduler")
    assert params(workload)["leader_elect"] is True
    assert workload.manifest["spec"]["replicas"] == 2
    assert workload.manifest["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    anti = workload.pod["affinity"]["podAntiAffinity"]
    (apart,) = anti["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"] == workload.manifest["spec"]["selector"]
    (rather,) = anti["preferredDuringSchedulingIgnoredDuringExecution"]
    controllers = the("controller").manifest["spec"]["selector"]
    assert rather["podAffinityTerm"]["labelSelector"] == controllers


def test_a_scheduler_is_nobody():
    workload = the("scheduler")
    assert workload.container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert not any(key.startswith("host") for key in workload.pod)
    assert "volumes" not in workload.pod


def test_claims_mode_brings_priority_and_budget_with_it():
    scheduler = the("scheduler")
    (budget,) = (m for m in scheduler.beside if m["kind"] == "PodDisruptionBudget")
    assert budget["apiVersion"] == "policy/v1"
    assert budget["metadata"]["namespace"] == scheduler.namespace
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "selector": scheduler.manifest["spec"]["selector"],
    }
    (priority,) = (m for m in scheduler.beside if m["kind"] == "PriorityClass")
    for command in ("controller", "scheduler"):
        assert the(command).pod["priorityClassName"] == priority["metadata"]["name"]


def test_the_two_accounts_of_claims_mode_differ():
    accounts = {the(command).service_account for command in ("controller", "scheduler")}
    made = {m["metadata"]["name"] for m in the("scheduler").beside if m["kind"] == "ServiceAccount"}
    assert len(accounts) == 2
    assert accounts == made


# The definitions.


def test_the_definitions_in_manifests_are_those_of_the_source():
    """To renew the file: ``extip crds > manifests/claims/crds.yaml``."""
    assert CRDS.read_text(encoding="utf-8") == render()


def test_labels_tell_components_apart_as_an_upgrade_in_steps_selects_them():
    """`docs/operations.md` selects so: controllers first, and no definition on the way back."""
    by_component: dict[str, set[str]] = {}
    for one in build(MANIFESTS / "claims"):
        component = one["metadata"].get("labels", {}).get("app.kubernetes.io/component", "")
        by_component.setdefault(component, set()).add(one["kind"])
    rights = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    assert by_component == {
        "": {"Namespace", "CustomResourceDefinition", "PriorityClass"},
        "controller": {"DaemonSet", *rights},
        "scheduler": {"Deployment", "PodDisruptionBudget", *rights},
    }


def test_the_manifest_says_what_the_source_says():
    assert list(yaml.safe_load_all(CRDS.read_text(encoding="utf-8"))) == list(definitions())


def test_the_manifest_has_no_anchors():
    text = CRDS.read_text(encoding="utf-8")
    assert "&id" not in text
    assert "*id" not in text


# The overlays that the comments show.


def overlaid(folder: str, parent: Path) -> dict[str, Workload]:
    """Build the overlay of the folder's comment; return the workloads by their commands."""
    client = json.loads(kubectl("version", "--client", "-o", "json"))["clientVersion"]
    if int(client["minor"].rstrip("+")) < 21:
        pytest.skip(f"kubectl {client['gitVersion']} is older than `patches` of kustomizations")
    comment = (MANIFESTS / folder / "kustomization.yaml").read_text()
    overlay = "".join(re.findall(r"^#   ((?!kubectl ).*\n)", comment, re.MULTILINE))
    shutil.copytree(MANIFESTS / folder, parent / folder)
    (parent / "mine").mkdir()
    (parent / "mine/kustomization.yaml").write_text(overlay)
    found = workloads(parent / "mine")
    assert len(yaml.safe_load(overlay)["patches"]) == len(found)
    assert {workload.container["image"] for workload in found} == {
        f"registry.example/extip:{extip.__version__}"
    }
    return {workload.command: workload for workload in found}


def networks(workload: Workload) -> list[str]:
    return [str(network) for network in params(workload)["allow_cidr"]]


def test_the_overlay_of_simple_mode_works(tmp_path):
    patched = overlaid("simple", tmp_path)["simple"]
    assert params(patched)["iface"] == ("bond0",)
    assert networks(patched) == ["10.10.0.0/24"]


def test_the_overlay_of_claims_mode_works(tmp_path):
    patched = overlaid("claims", tmp_path)
    assert params(patched["controller"])["iface"] == ("bond0",)
    assert patched["controller"].pod["nodeSelector"] == {"example.com/edge": "yes"}
    assert params(patched["scheduler"])["mask"] == 24
    assert networks(patched["scheduler"]) == ["10.10.0.0/24"]


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
def test_every_file_of_a_folder_is_built(folder):
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    generated = [f for made in kustomization.get("configMapGenerator", []) for f in made["files"]]
    listed = [*kustomization["resources"], *generated]
    assert {"kustomization.yaml", *listed} == {path.name for path in folder.iterdir()}
    assert build(folder)
