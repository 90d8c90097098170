"""IpNode, Node and heartbeat → the facts of a node that the filters look at. Pure."""

from collections.abc import Iterable

from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.api.node_link import TAKES_SUBNETS, NodeLink
from extip.api.node_links import selected_links
from extip.claims.policy.claims import parse_cidr
from extip.net.interfaces import IPAddress
from extip.scheduling.policy.filters import KubernetesNode, NodeFacts, NodeLinkFacts

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
"""Its presence counts, not its value, as for MetalLB. kubeadm sets it on control-plane nodes."""

_GOING = frozenset(
    {
        "node.kubernetes.io/out-of-service",  # a person, or a fencing agent (KEP-2268)
        "node.cloudprovider.kubernetes.io/shutdown",  # Kubernetes' cloud node lifecycle controller
        "ToBeDeletedByClusterAutoscaler",  # as for the service controller (KEP-3458)
        "karpenter.sh/disrupted",
        "karpenter.sh/disruption",  # its name before Karpenter v1
        "medik8s.io/remediation",  # Self Node Remediation: the node is about to be fenced
        "medik8s.io/fence-agents-remediation",
        "medik8s.io/drain",  # Node Maintenance Operator
    }
)
"""Keys of the taints of a node that goes, or is gone. Each is set when that is decided.

Not in the list: the taint of a mere candidate (`DeletionCandidateOfClusterAutoscaler`), that of a
cordon (`node.kubernetes.io/unschedulable`: pods stay, and IPs stay), and those that repeat the
condition Ready (`node.kubernetes.io/not-ready`, `unreachable`)."""


def kubernetes_node(node: Node) -> KubernetesNode:
    """Return the facts of a Node object.

    A node is not ready only when its kubelet says it (Ready is False). Ready turns Unknown when the
    kubelet is silent, and after an outage of the API server for all nodes at once. extip's own
    heartbeats tell better and sooner whether such a node can hold IPs. In a graceful shutdown the
    kubelet sets Ready to False when it begins to end pods (KEP-2000).
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


def node_facts(  # noqa: PLR0913 - all sources of facts
    name: str,
    ip_node: IpNode | None,
    kubernetes: KubernetesNode | None,
    *,
    alive: bool,
    leaving: bool,
    isolated: frozenset[str] = frozenset(),
    unread: bool = False,
) -> NodeFacts:
    """Return the facts of a controller's node.

    Its interfaces are those that take IPs by the controller's report, or the first one where none
    does. Before the first report, no filter looks at links. In `isolated`, an empty name stands for
    the first one. A node whose claims have failed over counts as dead until they name their new
    nodes, also when it is back.
    """
    links = () if ip_node is None else selected_links(ip_node)
    first = links[0].name if links else ""
    failed_over = ip_node is not None and bool(ip_node.status.failed_over)
    return NodeFacts(
        name=name,
        alive=alive and not failed_over,
        back=alive and failed_over,
        draining=leaving or (ip_node is not None and ip_node.spec.draining),
        isolated=frozenset(name or first for name in isolated),
        unread=unread,
        refuses=frozenset() if ip_node is None else _ips(ip_node.status.refused or ()),
        link=first,
        links={link.name: _link_facts(link) for link in links},
        kubernetes=kubernetes,
    )


def _link_facts(link: NodeLink) -> NodeLinkFacts:
    own = (parse_cidr(text) for text in link.addresses or ()) if link.takes else ()
    networks = {interface.network for interface in own if interface is not None}
    return NodeLinkFacts(
        up=link.up,
        subnets=tuple(sorted((n for n in networks if n.prefixlen < n.max_prefixlen), key=str)),
        by_subnet=link.takes == TAKES_SUBNETS,
    )


def located(nodes: Iterable[IpNode]) -> dict[IPAddress, str]:
    """Return the node of each IP that is held without a claim; of several nodes, the first name."""
    found: dict[IPAddress, str] = {}
    for node in nodes:
        name = node.metadata.name
        for ip in _ips(node.status.held or ()):
            found[ip] = min(name, found.get(ip, name))
    return found


def _ips(cidrs: Iterable[str]) -> frozenset[IPAddress]:
    interfaces = map(parse_cidr, cidrs)
    return frozenset(interface.ip for interface in interfaces if interface is not None)
