"""Where nodes have no pod network: the addresses of pods, as EndpointSlices name them.

Many CNI plugins (Calico, Cilium, those of clouds) give pods addresses of networks of their own, and
Nodes have no `spec.podCIDRs` then. EndpointSlices change with every pod of the cluster, so they are
watched only once such a node is there. Where nodes do get networks, a new one is without for a
moment: it makes no difference.
"""

import asyncio
import contextlib
from collections.abc import Callable, Container, Iterable

from extip.api.core_v1 import Node
from extip.api.discovery_v1 import EndpointSlice
from extip.cache.informer import Informer
from extip.clock import Clock
from extip.guard.addresses_in_use import ClusterIps, PodIps
from extip.guard.reserved_inputs import InUse
from extip.net.interfaces import IPAddress
from extip.supervisor import Component

_PATIENCE_S = 2.0
"""How long a start waits for the first list: where it cannot be read, nothing else is to wait."""

_ASSIGNED_S = 30.0
"""A node that comes later has its network by then, if nodes get any."""


class PodSources:
    """Follows from the informers of Nodes and EndpointSlices, which somebody else runs.

    `asked` are the external IPs that somebody asks for; whoever changes it calls `look_at`. `begin`
    has the second informer run from then on. `on_change` is called when the outcome may differ.
    """

    def __init__(
        self,
        nodes: Informer[Node],
        slices: Informer[EndpointSlice],
        *,
        asked: Container[IPAddress],
        begin: Callable[[], None],
        on_change: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._nodes = nodes
        self._slices = slices
        self._begin = begin
        self._on_change = on_change
        self._clock = clock
        self._impatient_at = 0.0
        self._used = False
        self._begun = asyncio.Event()
        self._ips = PodIps(slices.store.get, asked=asked, on_change=on_change)
        nodes.add_handler(self._on_node)
        slices.add_handler(self._ips.update)

    @property
    def awaited(self) -> bool:
        """Whether it is worth waiting a moment longer for the first list."""
        return (
            bool(self._impatient_at)
            and not self._slices.has_synced
            and self._clock.monotonic() < self._impatient_at
        )

    def look_at(self, ips: Iterable[IPAddress]) -> None:
        """Look again at these: somebody asks for them now, or nobody does any more."""
        self._ips.look_at(ips)

    def in_use(self, cluster_ips: ClusterIps, *, also: frozenset[IPAddress] = frozenset()) -> InUse:
        """Return what of the requested IPs somebody in the cluster has; `also` are cluster IPs."""
        self._used = True
        found = cluster_ips.taken | also if also else cluster_ips.taken
        return InUse(cluster_ips=found, spans=cluster_ips.spans, pod_ips=self._ips.taken)

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [Component("pods", self._run)]

    async def _run(self) -> None:
        await self._begun.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._slices.wait_synced()
        self._on_change()
        await asyncio.get_running_loop().create_future()

    def gap(self) -> str:
        """Return what is not known; empty when nothing is missing."""
        if not self._begun.is_set():
            return ""
        lacking = sorted(n.metadata.name for n in self._nodes.store.values() if _lacks(n))
        some = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")  # noqa: PLR2004
        return (
            f"nodes have no podCIDR ({some}): of their pods only those that serve a service are "
            "known, by EndpointSlices"
        )

    def _on_node(self, name: str) -> None:
        if self._begun.is_set() or not self._is_without(name):
            return
        if self._used:  # nothing that goes on already has to wait
            asyncio.get_running_loop().call_later(_ASSIGNED_S, self._look_again, name)
        else:
            self._impatient_at = self._clock.monotonic() + _PATIENCE_S
            self._watch()

    def _look_again(self, name: str) -> None:
        if not self._begun.is_set() and self._is_without(name):
            self._watch()

    def _watch(self) -> None:
        self._begun.set()
        self._begin()

    def _is_without(self, name: str) -> bool:
        node = self._nodes.store.get(name)
        return node is not None and _lacks(node)


def _lacks(node: Node) -> bool:
    return not node.spec.pod_cidrs
