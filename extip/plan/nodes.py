"""What is known of a node → what of it decides whether external IPs may be there."""

from collections.abc import Iterable

from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.plan.claims import parse_cidr
from extip.plan.eligibility import KubernetesNode, NodeFacts, NodeLinkFacts
from extip.plan.link import IPAddress

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Its presence counts, as for MetalLB, not its value; kubeadm puts it on control-plane nodes."""

_GOING = frozenset(
    {
        "node.kubernetes.io/out-of-service",  # a person, or what fences nodes (KEP-2268)
        "node.cloudprovider.kubernetes.io/shutdown",  # Kubernetes' cloud node lifecycle controller
        "ToBeDeletedByClusterAutoscaler",  # as for the service controller (KEP-3458)
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",  # what Karpenter called it before its v1
        "medik8s.io/remediation",  # Self Node Remediation: the node is about to be fenced
        "medik8s.io/fence-agents-remediation",
        "medik8s.io/drain",  # Node Maintenance Operator
    }
)
"""Taints of a node that goes or has gone, by their keys: each is put there when that is decided.

Not those of a mere candidate (`DeletionCandidateOfClusterAutoscaler`), of a cordon
(`node.kubernetes.io/unschedulable`: pods stay, and so do IPs), and of what `kubernetes_node` judges
better itself (`node.kubernetes.io/not-ready`, `unreachable`)."""


def kubernetes_node(node: Node) -> KubernetesNode:
    """Return the facts about a node.

    Not ready is only a node whose kubelet says so itself (Ready is False). Ready turns Unknown
    when the kubelet is silent, also for all nodes at once after the API server was away; whether
    such a node can hold IPs, extip's own heartbeats tell better and sooner. A kubelet that shuts
    its node down in order sets Ready to False as soon as it begins to end pods (KEP-2000).
    """
    ready = next((c.status for c in node.status.conditions or () if c.type == "Ready"), "Unknown")
    taints = {taint.key for taint in node.spec.taints or ()}
    labels = node.metadata.labels or {}
    return KubernetesNode(
        labels=labels,
        deleted=bool(node.metadata.deletion_timestamp),
        ready=ready != "False",
        evicting=not taints.isdisjoint(_GOING),
        excluded=EXCLUDE_LABEL in labels,
    )


def node_facts(  # noqa: PLR0913 - all that is known of a node
    name: str,
    ip_node: IpNode | None,
    kubernetes: KubernetesNode | None,
    *,
    alive: bool,
    leaving: bool,
    isolated: bool = False,
    unread: bool = False,
) -> NodeFacts:
    """Return the facts about a controller's node.

    Its interface is the one that its controller was given, which it reports first. One that it has
    not reported yet stands in nobody's way.
    """
    links = () if ip_node is None else ip_node.status.links or ()
    iface = links[0] if links else None
    return NodeFacts(
        name=name,
        alive=alive,
        draining=leaving or (ip_node is not None and ip_node.spec.draining),
        isolated=isolated,
        unread=unread,
        link="" if iface is None else iface.name,
        links={} if iface is None else {iface.name: NodeLinkFacts(up=iface.up)},
        kubernetes=kubernetes,
    )


def located(nodes: Iterable[IpNode]) -> dict[IPAddress, str]:
    """Return who has each IP that nodes hold though no claim says so; of several, the first."""
    found: dict[IPAddress, str] = {}
    for node in nodes:
        for cidr in node.status.held or ():
            interface = parse_cidr(cidr)
            if interface is not None:
                name = node.metadata.name
                found[interface.ip] = min(name, found.get(interface.ip, name))
    return found
