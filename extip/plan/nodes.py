"""A Node object → what of it decides whether external IPs may be there."""

from extip.api.core_v1 import Node
from extip.plan.eligibility import KubernetesNode

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Its presence counts, as for MetalLB, not its value; kubeadm puts it on control-plane nodes."""

_GOING = frozenset({"ToBeDeletedByClusterAutoscaler", "node.kubernetes.io/out-of-service"})
"""Taints of a node that is about to be taken away."""


def kubernetes_node(node: Node) -> KubernetesNode:
    """Return the facts about a node.

    Not ready is only a node whose kubelet says so itself (Ready is False). Ready turns Unknown
    when the kubelet is silent, also for all nodes at once after the API server was away; whether
    such a node can hold IPs, extip's own heartbeats tell better and sooner.
    """
    ready = next((c.status for c in node.status.conditions or () if c.type == "Ready"), "Unknown")
    taints = {taint.key for taint in node.spec.taints or ()}
    labels = node.metadata.labels or {}
    return KubernetesNode(
        labels=labels,
        deleted=bool(node.metadata.deletion_timestamp),
        ready=ready != "False",
        evicting=node.spec.unschedulable and bool(taints & _GOING),
        excluded=EXCLUDE_LABEL in labels,
    )
