"""Which nodes may hold a claim, and for each of the others the one reason why not.

Rules are tried in the order of `Obstacle`, so that the reason is the same each time: first what
makes a node useless to every claim, then what this claim asks for, and last what is in the way of
claims only while others are better off.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from extip.api.meta_v1 import LabelSelector
from extip.plan.link import IPAddress
from extip.plan.selector import selects

IPNetwork = IPv4Network | IPv6Network


class Obstacle(StrEnum):
    """Why a node may not hold a claim; the value is a reason of conditions."""

    DEAD = "NodeDead"
    DRAINING = "NodeDraining"
    LINK_DOWN = "LinkDown"
    UNREAD = "ClaimsUnread"
    """In the way of new claims alone: it would not hear that it has to let others go."""
    DELETED = "NodeDeleted"
    NOT_READY = "NodeNotReady"
    EVICTING = "NodeEvicting"
    EXCLUDED = "NodeExcluded"
    NOT_SELECTED = "NodeNotSelected"
    NO_ENDPOINT = "NoLocalEndpoint"
    FEWER_ENDPOINTS = "FewerLocalEndpoints"
    """Found out last of all, by comparing nodes with nothing in the way."""
    NO_LINK = "NoSuchLink"
    NO_SUBNET = "NoMatchingSubnet"
    NO_NODE = "NoKubernetesNode"
    """In the way only of claims that depend on what a Kubernetes node tells, and only while others
    may hold them."""
    ISOLATED = "NodeIsolated"
    """The last one: it is in the way of new claims alone until it is clear who is not isolated."""


EXPLANATIONS: Mapping[Obstacle, str] = {
    Obstacle.DEAD: "its controller sends no heartbeats",
    Obstacle.DRAINING: "its controller is leaving, or it is being drained",
    Obstacle.LINK_DOWN: "its interface has no carrier, or is missing",
    Obstacle.UNREAD: "its controller cannot read its claims",
    Obstacle.DELETED: "its Kubernetes node is being deleted",
    Obstacle.NOT_READY: "its Kubernetes node is not ready",
    Obstacle.EVICTING: "its Kubernetes node has a taint that says that it goes",
    Obstacle.EXCLUDED: "its Kubernetes node is labelled to be left out of load balancing",
    Obstacle.NOT_SELECTED: "the pool's node selector does not match it",
    Obstacle.NO_ENDPOINT: "it has no ready endpoint of a service with externalTrafficPolicy Local",
    Obstacle.FEWER_ENDPOINTS: "another node has ready endpoints of more of the services that share "
    "the IP",
    Obstacle.NO_LINK: "its controller does not have the interface that the claim asks for",
    Obstacle.NO_SUBNET: "no interface of it has a subnet that holds the IP",
    Obstacle.NO_NODE: "no Kubernetes node has its name, so its labels and endpoints are not known",
    Obstacle.ISOLATED: "no other station answers on its interface",
}

USELESS = frozenset({Obstacle.DEAD, Obstacle.DRAINING, Obstacle.LINK_DOWN})
"""A node of which this is true is left for any other, even an isolated one."""

PAST: Mapping[Obstacle, str] = {
    Obstacle.DEAD: "its controller sent no heartbeats, or was stopped",
    Obstacle.DRAINING: "its controller was leaving, or it was drained",
    Obstacle.LINK_DOWN: "its interface had no carrier, or was missing",
    Obstacle.UNREAD: "its controller could not read its claims",
    Obstacle.DELETED: "its Kubernetes node was being deleted",
    Obstacle.NOT_READY: "its Kubernetes node was not ready",
    Obstacle.EVICTING: "its Kubernetes node had a taint that says that it goes",
    Obstacle.EXCLUDED: "its Kubernetes node was labelled to be left out of load balancing",
    Obstacle.NOT_SELECTED: "the pool's node selector did not match it",
    Obstacle.NO_ENDPOINT: "it had no ready endpoint of a service with externalTrafficPolicy Local",
    Obstacle.FEWER_ENDPOINTS: "another node had ready endpoints of more of the services that share "
    "the IP",
    Obstacle.NO_LINK: "its controller did not have the interface that the claim asks for",
    Obstacle.NO_SUBNET: "no interface of it had a subnet that holds the IP",
    Obstacle.NO_NODE: "no Kubernetes node had its name, so its labels and endpoints were not known",
    Obstacle.ISOLATED: "no other station answered on its interface",
}
"""The same as the history of a claim has it: it is read long after."""

_SOFT = (Obstacle.NO_NODE, Obstacle.ISOLATED)
"""What counts only while another node is eligible; what is first is put up with first."""

CUT_OFF = frozenset({Obstacle.LINK_DOWN, Obstacle.ISOLATED})
"""What a fault of the network does to all of its nodes at once, and its end undoes."""

OPTIONAL = frozenset(Obstacle) - {Obstacle.DEAD, Obstacle.NO_LINK}
"""Rules that an operator may switch off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesNode:
    """What the Node object says, when there is one of that name."""

    labels: Mapping[str, str] = field(default_factory=dict)
    deleted: bool = False
    """It has a deletion timestamp."""
    ready: bool = True
    evicting: bool = False
    """Tainted as about to go away, or as gone."""
    excluded: bool = False
    """Labelled ``node.kubernetes.io/exclude-from-external-load-balancers``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLinkFacts:
    """An interface as its controller reported it."""

    up: bool
    """With carrier."""
    subnets: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """All that decides about one node."""

    name: str
    alive: bool
    draining: bool = False
    isolated: bool = False
    """It says that no other station answers on its interface."""
    unread: bool = False
    """It says that it does not hear of its claims."""
    link: str = ""
    """The interface that its controller was given; empty when it chooses one by subnet."""
    links: Mapping[str, NodeLinkFacts] = field(default_factory=dict)
    """By name; empty before the controller reported any, which then stands in nobody's way."""
    kubernetes: KubernetesNode | None = None
    """None: the controller's name is not that of a Kubernetes node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What one claim asks of a node."""

    ip: IPAddress
    link: str = ""
    """Interface that the claim names; empty for the controller's own choice."""
    node_selector: LabelSelector | None = None
    """That of the pool."""
    endpoint_nodes: tuple[frozenset[str], ...] = ()
    """For each service that wants local endpoints alone, the nodes with ready ones; services
    without any have no say beside others."""

    def served_by(self, node: str) -> int:
        """Return how many of the services that want local endpoints have one on the node."""
        return sum(node in nodes for nodes in self.endpoint_nodes)


_NOTHING = Needs(ip=IPv4Address(0))
"""What a claim needs that any node will do for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """The outcome for every node."""

    nodes: frozenset[str]
    obstacles: Mapping[str, Obstacle]
    """By node, in order of names."""
    last_resort: bool = False
    """All of `nodes` are isolated."""

    def explain(self) -> str:
        """Say in one line why nobody is eligible, for a condition's message."""
        if not self.obstacles:
            return "no node has registered"
        reasons: dict[Obstacle, list[str]] = {}
        for node, obstacle in self.obstacles.items():
            reasons.setdefault(obstacle, []).append(node)
        return "; ".join(
            f"{_some(nodes)}: {EXPLANATIONS[obstacle]}" for obstacle, nodes in reasons.items()
        )


def judge(
    nodes: Iterable[NodeFacts], needs: Needs, *, ignored: frozenset[Obstacle] = frozenset()
) -> Eligibility:
    """Decide for every node whether it may hold the claim.

    `ignored` are rules that are switched off; those not in `OPTIONAL` cannot be. Being isolated
    counts only while another node is eligible: whose only neighbour has died hears nobody either.
    So does having no Kubernetes node: where all controllers have other names than nodes, they serve
    as well as they can.
    """
    known, off = tuple(nodes), ignored & OPTIONAL
    found = _judge(known, needs, off)
    for soft in _SOFT:
        if not found.nodes and soft in found.obstacles.values():
            off |= {soft}
            isolated = soft is Obstacle.ISOLATED
            found = replace(_judge(known, needs, off), last_resort=isolated)
    return found


def standing(node: NodeFacts, *, ignored: frozenset[Obstacle] = frozenset()) -> Obstacle | None:
    """Return what keeps a node from holding any claim at all, or None when nothing does."""
    off = (ignored & OPTIONAL) | {Obstacle.NO_SUBNET}
    return next((o for o in _obstacles(node, _NOTHING) if o not in off), None)


def presumed_alive(nodes: Iterable[NodeFacts], names: frozenset[str]) -> tuple[NodeFacts, ...]:
    """Return the nodes with those of whom nothing is known taken for alive.

    For claims that have no node yet and are to be together with the others. Whether their holder
    lives is known within a monitor period. If it does, such a claim is up there at once, and on any
    other node it would stay for long, with rebalancing off for ever. If it is dead, the claim moves
    with the others, no later than they do. An IP that was up and lost its node does not wait so.
    """
    return tuple(replace(node, alive=True) if node.name in names else node for node in nodes)


def _judge(nodes: Iterable[NodeFacts], needs: Needs, off: frozenset[Obstacle]) -> Eligibility:
    eligible: set[str] = set()
    obstacles: dict[str, Obstacle] = {}
    for node in nodes:
        obstacle = next((o for o in _obstacles(node, needs) if o not in off), None)
        if obstacle is None:
            eligible.add(node.name)
        else:
            obstacles[node.name] = obstacle
    if Obstacle.NO_ENDPOINT not in off and Obstacle.FEWER_ENDPOINTS not in off:
        fewer = _serving_fewer((n.name for n in nodes if n.kubernetes is not None), eligible, needs)
        eligible -= fewer
        obstacles |= dict.fromkeys(fewer, Obstacle.FEWER_ENDPOINTS)
    return Eligibility(nodes=frozenset(eligible), obstacles=dict(sorted(obstacles.items())))


def _serving_fewer(known: Iterable[str], eligible: AbstractSet[str], needs: Needs) -> set[str]:
    """Return the eligible nodes that serve fewer services than another of them.

    Those who serve as many are equal, so that a holder moves only where strictly more are served.
    """
    if len(needs.endpoint_nodes) < 2:  # noqa: PLR2004 - nothing to compare
        return set()
    served = {node: needs.served_by(node) for node in known if node in eligible}
    most = max(served.values(), default=0)
    return {node for node, count in served.items() if count < most}


def _obstacles(node: NodeFacts, needs: Needs) -> Iterable[Obstacle]:
    """Yield all that stands in the way, in order."""
    link = needs.link or node.link
    yield from _of_controller(node, link)
    yield from _of_kubernetes(node.kubernetes, needs)
    yield from _of_endpoints(node, needs)
    if link and node.links and link not in node.links:
        yield Obstacle.NO_LINK
    if not link and not _has_subnet(node, needs.ip):
        yield Obstacle.NO_SUBNET
    if node.kubernetes is None and _depends_on_kubernetes(node, needs):
        yield Obstacle.NO_NODE
    if node.isolated and link == node.link:
        yield Obstacle.ISOLATED


def _of_controller(node: NodeFacts, link: str) -> Iterable[Obstacle]:
    if not node.alive:
        yield Obstacle.DEAD
    if node.draining:
        yield Obstacle.DRAINING
    if link in node.links and not node.links[link].up:
        yield Obstacle.LINK_DOWN
    if node.unread:
        yield Obstacle.UNREAD


def _of_kubernetes(kubernetes: KubernetesNode | None, needs: Needs) -> Iterable[Obstacle]:
    if kubernetes is not None:
        for stands, obstacle in (
            (kubernetes.deleted, Obstacle.DELETED),
            (not kubernetes.ready, Obstacle.NOT_READY),
            (kubernetes.evicting, Obstacle.EVICTING),
            (kubernetes.excluded, Obstacle.EXCLUDED),
        ):
            if stands:
                yield obstacle
    labels = {} if kubernetes is None else kubernetes.labels
    if not selects(needs.node_selector, labels):
        yield Obstacle.NOT_SELECTED


def _of_endpoints(node: NodeFacts, needs: Needs) -> Iterable[Obstacle]:
    """Yield what is missing; of a node with another name than Kubernetes has, nobody can tell.

    That is `NO_NODE`, unless there is no endpoint anywhere.
    """
    known = node.kubernetes is not None or not any(needs.endpoint_nodes)
    if known and needs.endpoint_nodes and not needs.served_by(node.name):
        yield Obstacle.NO_ENDPOINT


def _depends_on_kubernetes(node: NodeFacts, needs: Needs) -> bool:
    """Whether only a Kubernetes node could tell that nothing is in the way of the claim."""
    served = not needs.endpoint_nodes or needs.served_by(node.name)
    return not served or needs.node_selector not in (None, LabelSelector())


def _has_subnet(node: NodeFacts, ip: IPAddress) -> bool:
    return any(ip in subnet for link in node.links.values() if link.up for subnet in link.subnets)


def _some(nodes: list[str]) -> str:
    """Name up to three nodes: a cluster may have thousands."""
    shown = 3
    names = ", ".join(nodes[:shown])
    return names if len(nodes) <= shown else f"{names} and {len(nodes) - shown} more"
