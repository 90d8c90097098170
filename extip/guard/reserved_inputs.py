"""The guard's inputs from the API server: the addresses that the cluster itself uses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from extip import log
from extip.api.core_v1 import Node
from extip.api.ipcontroller_v1 import IpNode
from extip.cache.derived import Derived
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.guard.control_plane import ControlPlane, ControlPlaneFacts
from extip.guard.policy.reserved import (
    NodeNetwork,
    Reserved,
    network_of,
    reported_network,
    unite,
)
from extip.guard.policy.service_network import Spans, certain_networks
from extip.kube.client import ApiClient
from extip.net.interfaces import IPAddress
from extip.net.networks import Networks
from extip.supervisor import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """The addresses of services and pods."""

    cluster_ips: frozenset[IPAddress] = frozenset()
    """Cluster IPs of services; at least those that are requested, or that a pool could give."""
    spans: Spans = field(default_factory=dict)
    """The lowest and highest cluster IP, by IP version."""
    pod_ips: frozenset[IPAddress] = frozenset()
    """IPs of pods, where Nodes have no pod networks; only those that are requested."""


NOTHING_IN_USE = InUse()


class ReservedSources:
    """Follows from informers that somebody else runs, and from a component of its own.

    `on_change` is called when it differs.
    """

    def __init__(
        self,
        client: ApiClient,
        nodes: Informer[Node],
        ip_nodes: Informer[IpNode] | None = None,
        *,
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._control_plane = ControlPlane(client, on_change=on_change, clock=clock, rng=rng)
        self._nodes: Derived[Node, NodeNetwork, NodeNetwork] = Derived(
            get=nodes.store.get, extract=network_of, combine=unite, on_change=on_change
        )
        nodes.add_handler(self._nodes.update)
        self._reported: Derived[IpNode, NodeNetwork, NodeNetwork] | None = None
        if ip_nodes is not None:
            self._reported = Derived(
                get=ip_nodes.store.get, extract=reported_network, combine=unite, on_change=on_change
            )
            ip_nodes.add_handler(self._reported.update)
        self._known: tuple[tuple[object, ...], Reserved] | None = None
        self._log = log.get_logger("guard")

    def current(self, in_use: InUse = NOTHING_IN_USE) -> Reserved:
        """Return what is known now; the very same object until something changes.

        `in_use` is what services and pods have, where somebody watches them.
        """
        nodes, facts = self._nodes.value(), self._control_plane.facts
        reported = NodeNetwork() if self._reported is None else self._reported.value()
        parts = (nodes, reported, facts, in_use)
        if self._known is None or self._known[0] != parts:
            self._known = parts, _combined(nodes, reported, facts, in_use)
        return self._known[1]

    def tell_gaps(self, pods: str) -> None:
        """Say in one line what the guard does not know; `pods` is what is missing of those."""
        gaps = [pods] if pods else []
        if not self._control_plane.facts.services:
            gaps.append(
                "the API server tells no networks of cluster IPs (it does since Kubernetes 1.33): "
                "only the part that is in use is known"
            )
        if gaps:
            self._log.info("guard_knows_less", reason="; ".join(gaps))

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


def _combined(
    nodes: NodeNetwork,
    reported: NodeNetwork,
    facts: ControlPlaneFacts,
    in_use: InUse,
) -> Reserved:
    return Reserved(
        nodes=nodes.ips | reported.ips,
        listed=nodes.ips - reported.ips,
        gateways=reported.gateways,
        api_servers=facts.dialled | facts.endpoints,
        cluster_ips=facts.cluster_ips | in_use.cluster_ips,
        pod_ips=in_use.pod_ips,
        pods=Networks(nodes.pods),
        services=facts.services,
        in_between=(
            Networks() if facts.services else certain_networks(in_use.spans, facts.cluster_ips)
        ),
    )
