"""Programs that may change a service back are known by what they leave on it."""

import msgspec
import pytest

from extip.api.whole_service import WholeService
from extip.migrate.policy.managers import managers_of


def managers(**metadata):
    encoded = msgspec.json.encode({"metadata": metadata})
    return managers_of(msgspec.json.decode(encoded, type=WholeService))


def field_manager(name, operation="Update"):
    return {
        "managedFields": [{"manager": name, "operation": operation, "fieldsV1": {"f:spec": {}}}]
    }


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"ownerReferences": [{"kind": "Gateway", "name": "edge"}]}, "Gateway edge"),
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"helm.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"labels": {"app.kubernetes.io/managed-by": "some-operator"}}, "some-operator"),
        (field_manager("argocd-controller", "Apply"), "Argo CD"),
        (field_manager("kustomize-controller", "Apply"), "Flux"),
    ],
)
def test_programs_that_compare_again_and_again(metadata, name):
    assert managers(**metadata).standing == (name,)
    assert managers(**metadata).occasional == ()


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "Helm"}}, "Helm"),
        (
            {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "kubectl apply",
        ),
        (field_manager("helm"), "Helm"),
        (field_manager("Terraform"), "Terraform"),
        (field_manager("kubectl", "Apply"), "kubectl apply"),
    ],
)
def test_programs_that_a_person_runs(metadata, name):
    assert managers(**metadata).occasional == (name,)
    assert managers(**metadata).standing == ()


@pytest.mark.parametrize("name", ["kubectl-create", "kubectl", "extip", "curl", "kube-proxy"])
def test_a_single_write_is_nobodys(name):
    found = managers(**field_manager(name), labels={"app.kubernetes.io/managed-by": "extip"})
    assert (found.standing, found.occasional) == ((), ())
