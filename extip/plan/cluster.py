"""The nodes as far as they matter to claims, and which of them may hold which claim."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.api.meta_v1 import LabelSelector
from extip.api.names import label_value
from extip.plan.claims import Create, parse_cidr, pool_of
from extip.plan.eligibility import (
    CUT_OFF,
    PAST,
    USELESS,
    Eligibility,
    Needs,
    NodeFacts,
    Obstacle,
    judge,
)
from extip.plan.link import IPAddress

_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The nodes, as far as they matter to claims."""

    nodes: tuple[NodeFacts, ...]
    unknown: frozenset[str] = frozenset()
    """Nodes neither proved dead nor heard of: they keep what they have, and get nothing but new
    claims that are to be with those (`presumed_alive`)."""
    successors: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Nodes that may take the claims of an isolated one; while there is none, it keeps them."""
    unsettled: frozenset[str] = _NOBODY
    """Nodes whose interface has just gone down, others' perhaps with it: they keep their claims."""
    returning: frozenset[str] = _NOBODY
    """Nodes that have just come back: they take nothing from those that may be about to."""
    registered: Mapping[str, str] = field(default_factory=dict)
    """When each node registered, as text that sorts by time."""
    ignored: frozenset[Obstacle] = frozenset()
    """Rules of eligibility that are switched off."""
    node_selectors: Mapping[str, LabelSelector] = field(default_factory=dict)
    """Which nodes hold the addresses of a pool, by the `label_value` of its name; a pool without
    one has no entry."""
    located: Mapping[IPAddress, str] = field(default_factory=dict)
    """Nodes that have an IP up though no claim says so: its claim went with its kind."""
    local_endpoints: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Nodes with ready endpoints, for each service that is served by local ones alone, by
    ``namespace/name``; all others have no entry."""


class Rules:
    """Eligibility, decided once for all claims with the same needs."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._by_subnet = Obstacle.NO_SUBNET not in cluster.ignored and any(
            not node.link for node in cluster.nodes
        )
        self._known: dict[tuple[object, ...], Eligibility] = {}
        self._staying: dict[tuple[frozenset[str], str], frozenset[str]] = {}
        self._shared: dict[frozenset[str], frozenset[str]] = {}

    def judge(self, needs: Needs) -> Eligibility:
        """Return which nodes may hold a claim, and what is in the way of the others."""
        selector = id(needs.node_selector)  # those of the cluster, which outlives this
        ip = needs.ip if self._by_subnet else None
        key = (ip, needs.link, selector, needs.endpoint_nodes)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = judge(
                self._cluster.nodes, needs, ignored=self._cluster.ignored
            )
        return found

    def eligible(self, needs: Needs, holder: str = "") -> frozenset[str]:
        """Return who may take the claim.

        A holder of whom nothing is known may keep it. So does one that is cut off from its network
        until it is clear who is not, and one that does its work while all who might take it are
        isolated. One that does not hear of its claims keeps what it has: it would not let go.
        """
        found = self.judge(needs)
        obstacle = found.obstacles.get(holder)
        working = obstacle is not None and obstacle not in USELESS
        deaf = obstacle is Obstacle.UNREAD
        if holder not in self._cluster.unknown and not (
            deaf or obstacle in CUT_OFF or (working and found.last_resort)
        ):
            return found.nodes
        key = found.nodes, holder
        nodes = self._staying.get(key)
        if nodes is None:
            stay = frozenset({holder})
            if obstacle in CUT_OFF:
                nodes = self._connected(found.nodes, holder, obstacle) or stay
            else:
                nodes = stay if working else found.nodes | stay
            nodes = self._staying[key] = self._shared.setdefault(nodes, nodes)
        return nodes

    def _connected(
        self, nodes: frozenset[str], holder: str, obstacle: Obstacle | None
    ) -> frozenset[str]:
        """Return which nodes are known not to share the fate of one that is cut off."""
        cluster = self._cluster
        if holder in cluster.unsettled:
            return _NOBODY
        nodes -= cluster.returning
        if obstacle is Obstacle.ISOLATED:
            nodes &= cluster.successors.get(holder, _NOBODY)
        return nodes

    def serves(self, claim: IpClaim) -> bool:
        """Whether the node of a pinned claim can have its IP up, as far as is known."""
        node, needs = claim.spec.node_name, needs_of(claim, self._cluster)
        if needs is None or not node:
            return False
        obstacle = self.judge(needs).obstacles.get(node, Obstacle.DEAD)
        if node in self._cluster.unknown:
            return obstacle is Obstacle.DEAD
        useless = USELESS | {Obstacle.NO_LINK, Obstacle.ISOLATED}
        return node in self.judge(needs).nodes or obstacle not in useless

    def why_not(self, node: str, needs: Needs) -> str:
        """Say why a claim left a node, for its history."""
        if not node:
            return "it had no node"
        obstacle = self.judge(needs).obstacles.get(node)
        return "it is not there any more" if obstacle is None else PAST[obstacle]


def needs_of(claim: IpClaim, cluster: Cluster) -> Needs | None:
    """Return what a claim needs of its node; None when it cannot be read."""
    interface = parse_cidr(claim.spec.cidr)
    if interface is None:
        return None
    return Needs(
        ip=interface.ip,
        link=claim.spec.link,
        node_selector=cluster.node_selectors.get(pool_of(claim)),
        endpoint_nodes=_endpoint_nodes(claim.spec.services or (), cluster),
    )


def needs_of_new(create: Create, cluster: Cluster) -> Needs:
    """Return what a claim that is to be made needs of its node."""
    return Needs(
        ip=create.interface.ip,
        node_selector=cluster.node_selectors.get(label_value(create.pool)),
        endpoint_nodes=_endpoint_nodes(create.services, cluster),
    )


def not_served(
    claims: Iterable[IpClaim], cluster: Cluster
) -> dict[str, tuple[ServiceReference, ...]]:
    """Return the services without an endpoint where the claim is, though they want local ones.

    By the claim's name, and of those claims alone whose node is one that Kubernetes knows.
    """
    known = cluster.local_endpoints
    nodes = {facts.name for facts in cluster.nodes if facts.kubernetes is not None}
    found = {
        claim.metadata.name: tuple(
            service
            for service in claim.spec.services or ()
            if claim.spec.node_name not in known.get(str(service), nodes)
        )
        for claim in claims
        if claim.spec.node_name in nodes
    }
    return {name: services for name, services in found.items() if services}


def _endpoint_nodes(
    services: Iterable[ServiceReference], cluster: Cluster
) -> tuple[frozenset[str], ...]:
    """Return where each of those services has endpoints that is served by local ones alone.

    Those without any count only when all are: then no node serves the IP.
    """
    known = cluster.local_endpoints
    if not known:
        return ()
    each = [nodes for service in services if (nodes := known.get(str(service))) is not None]
    return tuple(nodes for nodes in each if nodes) or tuple(each[:1])
