"""Where nodes have no pod network: the addresses of pods, as EndpointSlices name them.

Many CNI plugins (Calico, Cilium, those of clouds) give pods addresses of networks of their own, and
Nodes have no `spec.podCIDRs` then. EndpointSlices change with every pod of the cluster, so they are
watched only once such a node is there.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from extip.api.core_v1 import Node
from extip.api.discovery_v1 import EndpointSlice
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.modes.addresses_in_use import ClusterIps, PodIps
from extip.modes.reserved_inputs import InUse
from extip.plan.link import IPAddress
from extip.plan.requests import Requests
from extip.supervisor import Component

_PATIENCE_S = 2.0
"""How long the first list is waited for: where it cannot be read, nothing else is to wait."""


class PodSources:
    """Follows from the informers of Nodes and EndpointSlices, which somebody else runs.

    `begin` has the second one run from then on; `changed` is called when the outcome may differ.
    """

    def __init__(
        self,
        nodes: Informer[Node],
        slices: Informer[EndpointSlice],
        *,
        begin: Callable[[], None],
        changed: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._nodes = nodes
        self._slices = slices
        self._begin = begin
        self._changed = changed
        self._clock = clock
        self._impatient_at: float | None = None
        self._begun = asyncio.Event()
        self._ips = PodIps(slices.store.get, changed=changed)
        nodes.add_handler(self._node_changed)
        slices.add_handler(self._ips.update)

    @property
    def awaited(self) -> bool:
        """Whether it is worth waiting a moment longer for the first list."""
        return (
            self._impatient_at is not None
            and not self._slices.has_synced
            and self._clock.monotonic() < self._impatient_at
        )

    def among(self, wanted: Iterable[IPAddress], *, of: object) -> frozenset[IPAddress]:
        """Return those of the addresses that pods have; see `AddressesInUse.among`."""
        return self._ips.among(wanted, of=of)

    def in_use(self, requests: Requests, cluster_ips: ClusterIps, *, every: bool) -> InUse:
        """Return what of the requested IPs somebody in the cluster has, or all cluster IPs."""

        def wanted() -> Iterator[IPAddress]:
            return (interface.ip for interface in requests.wanted)

        found = cluster_ips.all() if every else cluster_ips.among(wanted(), of=requests)
        pods = self.among(wanted(), of=requests)
        return InUse(cluster_ips=found, spans=cluster_ips.spans, pod_ips=pods)

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [Component("pods", self._run)]

    async def _run(self) -> None:
        await self._begun.wait()
        await self._clock.sleep(_PATIENCE_S)
        self._changed()
        await asyncio.get_running_loop().create_future()

    def gap(self) -> str:
        """Return what is not known; empty when nothing is missing."""
        if self._impatient_at is None:
            return ""
        lacking = sorted(n.metadata.name for n in self._nodes.store.values() if _lacks(n))
        some = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")  # noqa: PLR2004
        return (
            f"nodes have no podCIDR ({some}): of their pods only those that serve a service are "
            "known, by EndpointSlices"
        )

    def _node_changed(self, name: str) -> None:
        node = self._nodes.store.get(name)
        if node is None or not _lacks(node) or self._impatient_at is not None:
            return
        self._impatient_at = self._clock.monotonic() + _PATIENCE_S
        self._begin()
        self._begun.set()


def _lacks(node: Node) -> bool:
    return not node.spec.pod_cidrs
