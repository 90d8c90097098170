"""Filters: the nodes that may hold a claim, and one reason against each other node. Pure.

The filters run in the order of `Unfit`, so that the reason is the same each time. First come the
filters that a node fails for every claim, then those for the needs of this claim. Last come the
filters that count only while another node passes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from extip.api.meta_v1 import LabelSelector
from extip.api.selector import selects
from extip.net.interfaces import LOOPBACK, IPAddress
from extip.net.link_selection import Fitting, choose_link
from extip.scheduling.policy.preference import Preference

IPNetwork = IPv4Network | IPv6Network


class Unfit(StrEnum):
    """The filter that a node fails; the value is a reason of conditions."""

    DEAD = "NodeDead"
    DRAINING = "NodeDraining"
    LINK_DOWN = "LinkDown"
    UNREAD = "ClaimsUnread"
    """Against new claims only: the node keeps its claims, since it would not hear of a move."""
    DELETED = "NodeDeleted"
    NOT_READY = "NodeNotReady"
    EVICTING = "NodeEvicting"
    EXCLUDED = "NodeExcluded"
    NOT_SELECTED = "NodeNotSelected"
    NO_ENDPOINT = "NoLocalEndpoint"
    FEWER_ENDPOINTS = "FewerLocalEndpoints"
    """It compares the nodes that pass all others."""
    NO_LINK = "NoSuchLink"
    ON_SEGMENT = "LinkOnSegment"
    """Against claims of which each node has one."""
    NO_SUBNET = "NoMatchingSubnet"
    NO_NODE = "NoKubernetesNode"
    """Only against claims that depend on facts of a Kubernetes node, and only while another node
    passes."""
    ISOLATED = "NodeIsolated"
    """Against new claims only, until it is certain which nodes are not isolated."""
    OTHER_SUBNET = "OtherSubnet"
    """Only while another node passes."""


EXPLANATIONS: Mapping[Unfit, str] = {
    Unfit.DEAD: "its controller sends no heartbeats",
    Unfit.DRAINING: "its controller is leaving, or it is being drained",
    Unfit.LINK_DOWN: "its interface has no carrier, or is missing",
    Unfit.UNREAD: "its controller cannot read its claims",
    Unfit.DELETED: "its Kubernetes node is being deleted",
    Unfit.NOT_READY: "its Kubernetes node is not ready",
    Unfit.EVICTING: "its Kubernetes node has a taint that says that it goes",
    Unfit.EXCLUDED: "its Kubernetes node is labelled to be left out of load balancing",
    Unfit.NOT_SELECTED: "the pool's node selector does not match it",
    Unfit.NO_ENDPOINT: "it has no ready endpoint of a service with externalTrafficPolicy Local",
    Unfit.FEWER_ENDPOINTS: "another node has ready endpoints of more of the services that share "
    "the IP",
    Unfit.NO_LINK: "its controller does not have the interface that the claim asks for",
    Unfit.ON_SEGMENT: "its interface is not lo, and only there may several nodes have an IP",
    Unfit.NO_SUBNET: "no interface of it has a subnet that holds the IP",
    Unfit.NO_NODE: "no Kubernetes node has its name, so its labels and endpoints are not known",
    Unfit.ISOLATED: "no other station answers on its interface",
    Unfit.OTHER_SUBNET: "it is in other subnets than the IP, and another node is in that of the IP",
}

USELESS = frozenset({Unfit.DEAD, Unfit.DRAINING, Unfit.LINK_DOWN})
"""A claim leaves a node that fails one of these for any other node, even for an isolated one."""

NOWHERE = frozenset({Unfit.NO_LINK, Unfit.NO_SUBNET})
"""The same holds for these: the IP belongs on no interface of the node, so it is not up there."""

PAST: Mapping[Unfit, str] = {
    Unfit.DEAD: "its controller sent no heartbeats, or was stopped",
    Unfit.DRAINING: "its controller was leaving, or it was drained",
    Unfit.LINK_DOWN: "its interface had no carrier, or was missing",
    Unfit.UNREAD: "its controller could not read its claims",
    Unfit.DELETED: "its Kubernetes node was being deleted",
    Unfit.NOT_READY: "its Kubernetes node was not ready",
    Unfit.EVICTING: "its Kubernetes node had a taint that says that it goes",
    Unfit.EXCLUDED: "its Kubernetes node was labelled to be left out of load balancing",
    Unfit.NOT_SELECTED: "the pool's node selector did not match it",
    Unfit.NO_ENDPOINT: "it had no ready endpoint of a service with externalTrafficPolicy Local",
    Unfit.FEWER_ENDPOINTS: "another node had ready endpoints of more of the services that share "
    "the IP",
    Unfit.NO_LINK: "its controller did not have the interface that the claim asks for",
    Unfit.ON_SEGMENT: "its interface was not lo, and only there may several nodes have an IP",
    Unfit.NO_SUBNET: "no interface of it had a subnet that holds the IP",
    Unfit.NO_NODE: "no Kubernetes node had its name, so its labels and endpoints were not known",
    Unfit.ISOLATED: "no other station answered on its interface",
    Unfit.OTHER_SUBNET: "it was in other subnets than the IP, and another node in that of the IP",
}
"""The same reasons for the history of a claim, which is read long after."""

CUT_OFF = frozenset({Unfit.LINK_DOWN, Unfit.ISOLATED})
"""Filters that one fault of the network makes all nodes fail at once, until it ends."""

OPTIONAL = frozenset(Unfit) - {Unfit.DEAD, Unfit.NO_LINK, Unfit.NO_SUBNET, Unfit.ON_SEGMENT}
"""Filters that an operator may switch off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesNode:
    """The facts of a Node object."""

    labels: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False
    """It has a deletion timestamp."""
    ready: bool = True
    evicting: bool = False
    """A taint says that the node goes away, or is gone."""
    excluded: bool = False
    """Labelled ``node.kubernetes.io/exclude-from-external-load-balancers``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLinkFacts:
    """The facts of an interface that its controller puts IPs on."""

    up: bool
    """With carrier."""
    subnets: tuple[IPNetwork, ...] = ()
    """The subnets of the node's own addresses there, where these matter."""
    by_subnet: bool = False
    """It takes the IPs of its subnets alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """The facts that the filters look at, for one node."""

    name: str
    alive: bool
    back: bool = False
    """It is heard, but counts as dead until its claims, which have failed over, are settled."""
    draining: bool = False
    isolated: frozenset[str] = frozenset()
    """The interfaces on which no other station answers, as its controller reports."""
    unread: bool = False
    """Its controller reports that it cannot read its claims."""
    refuses: frozenset[IPAddress] = frozenset()
    """IPs that its controller would refuse, of those whose standby it is or was."""
    link: str = ""
    """The first interface that its controller puts IPs on."""
    links: Mapping[str, NodeLinkFacts] = field(default_factory=dict)
    """By name, the preferred ones first. Empty before the first report of the controller: then no
    filter looks at links."""
    kubernetes: KubernetesNode | None = None
    """None: no Kubernetes node has the name of the controller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The needs of one claim."""

    ip: IPAddress
    link: str = ""
    """Interface that the claim names; empty for the choice by subnet and order."""
    node_selector: LabelSelector | None = None
    """The node selector of its pool."""
    every_node: bool = False
    """Each node that may hold the IP has a claim of it."""
    endpoint_nodes: tuple[frozenset[str], ...] = ()
    """The nodes with ready endpoints, for each service with local traffic policy. A service without
    endpoints has no entry beside services with endpoints."""
    preference: Preference | None = None
    """No filter looks at it: it orders the nodes that pass. None: they are equal."""
    group: str = ""
    """Claims of the same group are to be on different nodes; empty for none."""

    def served_by(self, node: str) -> int:
        """Return how many services with local traffic policy have an endpoint on the node."""
        return sum(node in nodes for nodes in self.endpoint_nodes)


_NOTHING = Needs(ip=IPv4Address(0))
"""The needs of a claim that every node meets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterResult:
    """The filter result of every node."""

    nodes: frozenset[str]
    unfit: Mapping[str, Unfit]
    """The reason against each other node."""
    last_resort: bool = False
    """All of `nodes` are isolated."""

    def explain(self) -> str:
        """Return one line for a condition: the reasons for which no node passes."""
        if not self.unfit:
            return "no node has registered"
        reasons: dict[Unfit, list[str]] = {}
        for node, reason in sorted(self.unfit.items()):
            reasons.setdefault(reason, []).append(node)
        return "; ".join(
            f"{_some(nodes)}: {EXPLANATIONS[reason]}" for reason, nodes in reasons.items()
        )


def failed_for_all(node: NodeFacts, *, ignored: frozenset[Unfit] = frozenset()) -> Unfit | None:
    """Return the filter that a node fails for every claim, or None."""
    off = ignored & OPTIONAL
    return next((o for o in _reasons(node, _NOTHING, best_link(node)) if o not in off), None)


def best_link(node: NodeFacts) -> str:
    """Return the first interface of a node that works, as far as its controller knows."""
    up = [name for name, link in node.links.items() if link.up]
    reached = [name for name in up if name not in node.isolated]
    return (reached or up or [node.link])[0]


def failed_filter(
    node: NodeFacts, needs: Needs, *, ignored: frozenset[Unfit] = frozenset()
) -> Unfit | None:
    """Return the filter that the node fails, whatever other nodes do; None for none."""
    off = ignored & OPTIONAL
    return next((o for o in _reasons(node, needs, link_for(node, needs)) if o not in off), None)


def link_for(node: NodeFacts, needs: Needs) -> str:
    """Return the interface that the IP would be on, as the controller chooses it; empty for none.

    Before the first report it is the first interface, whatever that is.
    """
    if not node.links or (len(node.links) == 1 and not needs.link):
        single = next(iter(node.links.values()), None)
        if single is None or not single.by_subnet:
            return node.link
    among = [Fitting(name, one.by_subnet, one.subnets) for name, one in node.links.items()]
    return choose_link(needs.ip, needs.link, among)


def presumed_alive(nodes: Iterable[NodeFacts], names: frozenset[str]) -> tuple[NodeFacts, ...]:
    """Return the nodes, with the nodes in `names` taken for alive.

    This is for claims that have no node yet and are to join other claims on a node of unknown
    liveness. Within a monitor period it is known whether that node lives. If it lives, the claim is
    up there at once; on another node it would stay for long, and for ever without rebalancing. If
    it is dead, the claim moves with the other claims, no later than they do. A claim that was up
    and lost its node does not wait.
    """
    return tuple(replace(node, alive=True) if node.name in names else node for node in nodes)


def strays(node: NodeFacts, needs: Needs) -> bool:
    """Whether the IP would be on an interface of the node whose subnets do not contain it."""
    if needs.link:
        return False
    link = node.links.get(link_for(node, needs))
    return link is not None and bool(link.subnets) and not _contain(link.subnets, needs.ip)


def is_local(node: NodeFacts, ip: IPAddress) -> bool:
    """Whether a subnet of the node contains the IP."""
    return any(_contain(link.subnets, ip) for link in node.links.values())


def _contain(subnets: Iterable[IPNetwork], ip: IPAddress) -> bool:
    return any(ip in subnet for subnet in subnets)


def _reasons(node: NodeFacts, needs: Needs, link: str) -> Iterable[Unfit]:
    """Yield the filters that the node fails, in order; `link` is where the IP would be."""
    yield from _of_controller(node, link)
    yield from _of_kubernetes(node.kubernetes, needs)
    yield from _of_endpoints(node, needs)
    nowhere = bool(node.links) and not link
    if nowhere and needs.link:
        yield Unfit.NO_LINK
    if needs.every_node and link != LOOPBACK:
        yield Unfit.ON_SEGMENT
    if nowhere and not needs.link:
        yield Unfit.NO_SUBNET
    if node.kubernetes is None and _depends_on_kubernetes(node, needs):
        yield Unfit.NO_NODE
    if link in node.isolated:
        yield Unfit.ISOLATED


def _of_controller(node: NodeFacts, link: str) -> Iterable[Unfit]:
    if not node.alive:
        yield Unfit.DEAD
    if node.draining:
        yield Unfit.DRAINING
    if link in node.links and not node.links[link].up:
        yield Unfit.LINK_DOWN
    if node.unread:
        yield Unfit.UNREAD


def _of_kubernetes(kubernetes: KubernetesNode | None, needs: Needs) -> Iterable[Unfit]:
    if kubernetes is not None:
        if kubernetes.deleted:
            yield Unfit.DELETED
        if not kubernetes.ready:
            yield Unfit.NOT_READY
        if kubernetes.evicting:
            yield Unfit.EVICTING
        if kubernetes.excluded:
            yield Unfit.EXCLUDED
    labels = {} if kubernetes is None else kubernetes.labels
    if not selects(needs.node_selector, labels):
        yield Unfit.NOT_SELECTED


def _of_endpoints(node: NodeFacts, needs: Needs) -> Iterable[Unfit]:
    """Yield `NO_ENDPOINT` where the node has no endpoint of any of the services.

    The endpoints of a controller without a Kubernetes node are unknown: that is `NO_NODE`, unless
    no node at all has an endpoint.
    """
    known = node.kubernetes is not None or not any(needs.endpoint_nodes)
    if known and needs.endpoint_nodes and not needs.served_by(node.name):
        yield Unfit.NO_ENDPOINT


def _depends_on_kubernetes(node: NodeFacts, needs: Needs) -> bool:
    """Whether only the facts of a Kubernetes node could tell that the node fits the claim."""
    served = not needs.endpoint_nodes or needs.served_by(node.name)
    return not served or needs.node_selector not in (None, LabelSelector())


def _some(nodes: list[str]) -> str:
    """Name up to three nodes, since a cluster may have thousands."""
    shown = 3
    names = ", ".join(nodes[:shown])
    return names if len(nodes) <= shown else f"{names} and {len(nodes) - shown} more"
