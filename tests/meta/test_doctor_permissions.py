"""The permissions that the doctor asks for are those of the manifests."""

import pytest

from extip.doctor.policy.permissions import needed
from extip.doctor.wish import ROLES
from tests.meta.manifests import KUSTOMIZATIONS, workloads

WORKLOADS = [workload for folder in KUSTOMIZATIONS for workload in workloads(folder)]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.command)
def test_a_daemon_needs_what_the_manifests_grant(workload):
    asked = {(one.group, one.resource, one.verb) for one in needed(workload.command)}
    assert asked == workload.granted()


def test_every_role_needs_something():
    for role in ROLES:
        assert needed(role)
        assert len(set(needed(role))) == len(needed(role))
