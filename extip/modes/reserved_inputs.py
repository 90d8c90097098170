"""What the guard learns from the API server: which addresses the cluster itself uses."""

from collections.abc import Callable, Iterable
from random import Random

from extip.api.core_v1 import AnyService, Node
from extip.api.ipcontroller_v1 import IpNode
from extip.cache.derived import Derived
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.kube.client import ApiClient
from extip.kube.control_plane import ControlPlane, ControlPlaneFacts
from extip.plan.link import IPAddress
from extip.plan.networks import Networks
from extip.plan.reserved import (
    NodeNetwork,
    Reserved,
    network_of,
    parse_ips,
    reported_network,
    unite,
)
from extip.supervisor import Component


class ReservedSources:
    """Follows from informers that somebody else runs, and from a component of its own.

    `changed` is called when it differs.
    """

    def __init__(
        self,
        client: ApiClient,
        nodes: Informer[Node],
        ip_nodes: Informer[IpNode] | None = None,
        *,
        changed: Callable[[], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._control_plane = ControlPlane(client, changed=changed, clock=clock, rng=rng)
        self._nodes: Derived[Node, NodeNetwork, NodeNetwork] = Derived(
            get=nodes.store.get, extract=network_of, combine=unite, changed=changed
        )
        nodes.add_handler(self._nodes.update)
        self._reported: Derived[IpNode, NodeNetwork, NodeNetwork] | None = None
        if ip_nodes is not None:
            self._reported = Derived(
                get=ip_nodes.store.get, extract=reported_network, combine=unite, changed=changed
            )
            ip_nodes.add_handler(self._reported.update)
        self._known: tuple[tuple[object, ...], Reserved] | None = None

    def current(self, cluster_ips: frozenset[IPAddress] = frozenset()) -> Reserved:
        """Return what is known now; the very same object until something changes.

        `cluster_ips` are those of services, where somebody watches them.
        """
        nodes, facts = self._nodes.value(), self._control_plane.facts
        reported = NodeNetwork() if self._reported is None else self._reported.value()
        parts = (nodes, reported, facts, cluster_ips)
        if self._known is None or self._known[0] != parts:
            self._known = parts, _combined(nodes, reported, facts, cluster_ips)
        return self._known[1]

    @property
    def has_synced(self) -> bool:
        """Whether all that no informer brings is known."""
        return self._control_plane.has_synced

    async def wait_synced(self) -> None:
        """Wait until `has_synced`."""
        await self._control_plane.wait_synced()

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [Component("control-plane", self._control_plane.run)]

    def problem(self) -> str:
        """Return what is not known yet; empty when nothing is missing."""
        return "" if self.has_synced else "control-plane"


class ClusterIps:
    """The cluster IPs of all services, as they come and go.

    Most services matter to nobody here: `changed` is called only for cluster IPs that were among
    the `wanted` ones when they were last asked for.
    """

    def __init__(
        self,
        get: Callable[[str], AnyService | None],
        *,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._get = get
        self._changed = changed
        self._of_service: dict[str, tuple[str, ...]] = {}
        self._count: dict[IPAddress, int] = {}
        self._all: frozenset[IPAddress] | None = None
        self._taken: tuple[object, frozenset[IPAddress]] | None = None
        self._asked: frozenset[IPAddress] = frozenset()

    def update(self, key: str) -> None:
        """Look at one service again (an informer's handler)."""
        service = self._get(key)
        new = () if service is None else service.spec.cluster_ips or ()
        old = self._of_service.get(key, ())
        if new == old:
            return
        if new:
            self._of_service[key] = new
        else:
            del self._of_service[key]
        came, went = parse_ips(new), parse_ips(old)
        for ip in came:
            self._count[ip] = self._count.get(ip, 0) + 1
        for ip in went:
            self._count[ip] -= 1
            if not self._count[ip]:
                del self._count[ip]
        self._all = self._taken = None
        if not self._asked.isdisjoint(came | went):
            self._changed()

    def all(self) -> frozenset[IPAddress]:
        """Return every cluster IP; the very same object until one changes."""
        if self._all is None:
            self._all = frozenset(self._count)
        return self._all

    def among(self, wanted: Iterable[IPAddress], *, of: object) -> frozenset[IPAddress]:
        """Return the cluster IPs among those; looked up anew only when `of` is another object."""
        if self._taken is None or self._taken[0] is not of:
            self._asked = frozenset(wanted)
            self._taken = of, frozenset(ip for ip in self._asked if ip in self._count)
        return self._taken[1]


def _combined(
    nodes: NodeNetwork,
    reported: NodeNetwork,
    facts: ControlPlaneFacts,
    cluster_ips: frozenset[IPAddress],
) -> Reserved:
    return Reserved(
        nodes=nodes.ips | reported.ips,
        listed=nodes.ips - reported.ips,
        gateways=reported.gateways,
        api_servers=facts.dialled | facts.endpoints,
        cluster_ips=facts.cluster_ips | cluster_ips,
        pods=Networks(nodes.pods),
        services=facts.services,
    )
