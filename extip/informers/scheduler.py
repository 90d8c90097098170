"""The scheduler's inputs from the API server, kept up to date on standby, too."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any

from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import DetailedService, LabelledNamespace, Node
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.meta_v1 import Condition
from extip.api.names import HEARTBEAT_SELECTOR
from extip.api.resources import (
    DETAILED_SERVICES,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    LABELLED_NAMESPACES,
    LEASES,
    NODES,
)
from extip.cache.derived import Parts
from extip.cache.informer import Informer
from extip.cache.tracked import TrackedListerWatcher
from extip.cache.vanished import Vanished
from extip.cache.waking import WakingClock
from extip.clock import Clock
from extip.definitions.kinds import Kinds
from extip.definitions.orphans import Orphans
from extip.endpoints.inputs import EndpointSources
from extip.guard.pod_inputs import PodSources
from extip.guard.reserved_inputs import ReservedSources
from extip.informers.cluster_facts import ClusterFacts, gather_facts
from extip.informers.relevance import relevant_parts_of_claim, relevant_parts_of_node
from extip.informers.wishes import WishSources
from extip.kube.client import ApiClient
from extip.kube.lease_lock import HeartbeatReader
from extip.liveness.node_monitor import NodeMonitor
from extip.liveness.policy import Verdict
from extip.liveness.suspects import Suspects
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.nodes.garbage import StaleNodeCollector
from extip.nodes.verdict_sources import VerdictSources
from extip.pools.inputs import AllocationSources
from extip.pools.pooled_cluster_ips import PooledClusterIps
from extip.scheduling.inputs import SchedulerInputs
from extip.scheduling.policy.filters import Unfit
from extip.services.explicit_ips import ExplicitIPs
from extip.services.lingering import linger
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from extip.services.policy.written_ips import written_ips
from extip.supervisor import Component
from extip.uplink.inputs import UplinkSource


class SchedulingInputs:
    """Informers, the heartbeat monitor, and what follows from them."""

    on_change: Callable[[], None]
    """Called when a pass may have another result."""
    on_node_change: Callable[[], None]
    """Called instead of it when a node is the cause."""
    on_verdict_change: Callable[[], None]
    """Called when the verdict on a node may have changed."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        client: ApiClient,
        *,
        masks: Masks,
        lb_class: str,
        permissions: Permissions,
        namespace: str,
        monitor_s: float,
        rebalance_after_s: float,
        ignored: frozenset[Unfit],
        withdraws: bool = False,
        kinds: Kinds,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self.on_change = self.on_node_change = self.on_verdict_change = lambda: None
        self._clock = clock
        self._waking = waking = WakingClock(clock)
        self._rebalance_after_s = rebalance_after_s
        self._monitor_s = monitor_s
        self._ignored = ignored
        self._warm = False

        def informer(
            name: str,
            lister_watcher: Any,  # noqa: ANN401
            vanished: Vanished[Any] | None = None,
        ) -> Informer[Any]:
            return Informer(
                name, lister_watcher, clock=waking, rng=rng, metrics=metrics, vanished=vanished
            )

        self.orphans = Orphans(kinds.claims, on_settled=self._tell, clock=clock, rng=rng)
        self._services: Informer[DetailedService] = informer(
            "services", client.lister_watcher(DETAILED_SERVICES)
        )
        self.pools: Informer[IpClaimPool] = informer(
            "ipclaimpools", client.lister_watcher(IP_CLAIM_POOLS), Vanished(kinds.pools)
        )
        self._namespaces: Informer[LabelledNamespace] = informer(
            "namespaces", client.lister_watcher(LABELLED_NAMESPACES)
        )
        self.claims: Informer[IpClaim] = informer(
            "ipclaims", client.lister_watcher(IP_CLAIMS), self.orphans.vanished
        )
        self.ip_nodes: Informer[IpNode] = informer(
            "ipnodes", client.lister_watcher(IP_NODES), Vanished(kinds.nodes)
        )
        self._nodes: Informer[Node] = informer("nodes", client.lister_watcher(NODES))
        leases = client.lister_watcher(
            LEASES, namespace=namespace, label_selector=HEARTBEAT_SELECTOR
        )
        self.leases: Informer[Lease] = informer(
            "leases",
            TrackedListerWatcher(
                leases,
                on_open=lambda: self.monitor.watch_opened(),  # noqa: PLW0108 - made below
                on_close=lambda: self.monitor.watch_closed(),  # noqa: PLW0108
            ),
        )
        self.monitor = NodeMonitor(
            HeartbeatReader(client, namespace=namespace).read,
            get=self.leases.store.get,
            monitor_s=monitor_s,
            on_change=self._on_verdict,
            on_doubt=self.doubt,
            clock=clock,
            metrics=metrics,
        )
        self.leases.add_handler(self.monitor.on_lease)
        self._stale_nodes = StaleNodeCollector(
            self.monitor,
            records=self.ip_nodes.store,
            leases=self.leases.store,
            claims=self.claims.store,
            namespace=namespace,
            after_s=monitor_s,
            ready=lambda: all(source.has_synced for source in self._sources()),
            on_change=self._tell_of_node,
        )
        self.leases.add_handler(self._stale_nodes.on_lease)
        self.ip_nodes.add_handler(self._stale_nodes.on_record)
        self._uplinks = self._follow_uplinks()
        self.suspects = self._follow_suspects(self._uplinks, metrics)
        self.claims.add_handler(self._stale_nodes.on_claim)
        self.allocation = AllocationSources(
            services=self._services,
            pools=self.pools,
            namespaces=self._namespaces,
            lb_class=lb_class,
            allowed=permissions.networks(),
            on_change=self._tell,
        )
        self.explicit_ips: ExplicitIPs[DetailedService] = ExplicitIPs(
            get=self._services.store.get,
            extract=written_ips,
            parse=masks.parse,
            permit=permissions.refuse,
            on_change=self._on_explicit_ips,
            linger=linger,
        )
        self._cluster_ips = PooledClusterIps(
            self._services.store.get, asked=self.explicit_ips.by_ip, on_change=self._tell
        )
        self._reserved = ReservedSources(
            client, self._nodes, self.ip_nodes, on_change=self._tell, clock=waking, rng=rng
        )
        self._endpoints = EndpointSources(
            client, self._services, on_change=self._tell, clock=waking, rng=rng, metrics=metrics
        )
        self._wishes = WishSources(
            self._services,
            pools=lambda: self.allocation.pools,
            endpoints=self._endpoints,
            withdraws=withdraws,
            on_change=self._tell,
            clock=waking,
        )
        self._pods = PodSources(
            self._nodes,
            self._endpoints.slices,
            asked=self.explicit_ips.by_ip,
            begin=self._endpoints.need,
            on_change=self._tell,
            clock=waking,
        )
        self.facts = self._gather_facts()
        self._verdicts = VerdictSources(
            self.monitor,
            facts=self.facts.of,
            lease=self.leases.store.get,
            kubernetes=self._nodes.store,
            namespace=namespace,
            patience_s=monitor_s,
            ignored=self._ignored,
            clock=clock,
        )
        self._services.add_handler(self.explicit_ips.update)
        self._services.add_handler(self._cluster_ips.update)
        self.ip_nodes.add_handler(
            Parts(
                get=self.ip_nodes.store.get,
                extract=relevant_parts_of_node,
                on_change=self._tell_of_nodes,
            ).update
        )
        self._claim_parts = Parts(
            get=self.claims.store.get,
            extract=lambda claim: relevant_parts_of_claim(claim, self._wishes.every_node()),
            on_change=self._tell,
        )
        self.claims.add_handler(self._on_claim)

    def _follow_uplinks(self) -> UplinkSource:
        source = UplinkSource(
            self.ip_nodes.store,
            heard_again_at=self.monitor.back_at,
            steady_s=self._rebalance_after_s,
            on_change=self._tell_of_nodes,
            clock=self._clock,
        )
        self.ip_nodes.add_handler(source.on_record)
        return source

    def _follow_suspects(self, uplinks: UplinkSource, metrics: Metrics) -> Suspects:
        records, leases, clock = self.ip_nodes, self.leases, self._clock
        source = Suspects(
            self.monitor, records.store, leases.store, uplinks, clock=clock, metrics=metrics
        )
        records.add_handler(source.on_record)
        leases.add_handler(source.on_lease)
        return source

    def _gather_facts(self) -> ClusterFacts:
        return gather_facts(
            self.monitor,
            self.ip_nodes,
            self._nodes,
            self._uplinks,
            on_change=self._tell_of_nodes,
            ignored=self._ignored,
            rebalance_after_s=self._rebalance_after_s,
            clock=self._clock,
        )

    def current(self) -> SchedulerInputs | None:
        """Return the inputs; None until every cache has synced and liveness is known.

        Liveness is known when every node has a verdict, and every live one has registered its
        interfaces. At the latest it counts as known one monitor period after the caches have
        synced. Before that, the first controller to be heard would get everything.

        The inputs are also None while the kind of claims is missing, and until claims that went
        with it are there again.
        """
        if self.orphans.pending or not self._knows() or self._endpoints.awaited:
            return None
        pooled = self._cluster_ips.pooled(self.allocation.pools)
        in_use = self._pods.in_use(self._cluster_ips, also=pooled)
        reserved = self._reserved.current(in_use)
        cluster, steady = self.facts.current(self._wishes.current())
        told = self.explicit_ips.rejected()
        return SchedulerInputs(rejected=told, reserved=reserved, cluster=cluster, steady=steady)

    def read_nodes(self, most: int) -> bool:
        """Read some of the changed nodes, when all are known; return whether that was all."""
        return not self._knows() or self.facts.read(most)

    @property
    def records(self) -> Mapping[str, IpNode]:
        """The IpNodes, by name."""
        return self.ip_nodes.store

    def judge(self, node: str) -> Condition | None:
        """Return the condition that an IpNode should have; None while it is not clear."""
        return self._verdicts.judge(node) if self._knows() else None

    def service(self, key: str) -> DetailedService | None:
        """Return a service as the cache has it, by ``namespace/name``."""
        return self._services.store.get(key)

    async def wait_synced(self) -> None:
        """Wait until every cache has been filled."""
        for source in self._sources():
            await source.wait_synced()

    def components(self) -> list[Component]:
        """Return what has to run."""
        return [
            *(Component(informer.name, informer.run) for informer in self._informers()),
            *self._reserved.components(),
            *self._endpoints.components(),
            *self._pods.components(),
            Component("liveness", self.monitor.run),
            Component("suspects", self.suspects.run),
            Component("first-sync", self._announce_first_sync),
            Component("orphans", self.orphans.expire),
        ]

    def wake(self) -> None:
        """Try at once what failed: the API server is back, or a kind.

        No cache need wait its backoff out. No node is found dead until the Leases are seen again.
        """
        self._waking.wake()

    def doubt(self, since_s: float) -> None:
        """Open watches anew that have been silent since that time: they may be dead."""
        for informer in self._informers():
            informer.doubt(since_s)
        self._endpoints.doubt(since_s)

    def problem(self) -> str:
        """Return which caches have never been filled; empty when all have (a readiness check)."""
        missing = [i.name for i in self._informers() if not i.has_synced]
        missing += [self._reserved.problem()] if self._reserved.problem() else []
        return f"not synced yet: {', '.join(missing)}" if missing else ""

    def _informers(self) -> tuple[Informer[Any], ...]:
        return (
            self._services,
            self.claims,
            self.ip_nodes,
            self._nodes,
            self.leases,
            self.pools,
            self._namespaces,
        )

    def _sources(self) -> tuple[Informer[Any] | ReservedSources, ...]:
        return (*self._informers(), self._reserved)

    def _all_registered(self) -> bool:
        told = {n.metadata.name for n in self.ip_nodes.store.values() if n.status.links}
        return all(n in told for n, v in self.monitor.nodes().items() if v is Verdict.ALIVE)

    def _knows(self) -> bool:
        self._warm = self._warm or (self.monitor.settled and self._all_registered())
        known = all(source.has_synced for source in self._sources())
        return self._warm and known and not self._pods.awaited

    def _on_verdict(self, node: str) -> None:
        self._tell_of_node(node)
        self._stale_nodes.trigger()
        self._uplinks.on_node_heard()
        if self.monitor.verdict(node) is Verdict.UNKNOWN:
            loop = asyncio.get_running_loop()
            loop.call_later(self._monitor_s, self._tell_of_verdicts)
        if self._rebalance_after_s and self.monitor.verdict(node) is Verdict.ALIVE:
            loop = asyncio.get_running_loop()
            loop.call_later(self._rebalance_after_s + 0.1, self._tell)

    def _on_explicit_ips(self, ips: Collection[IPAddress]) -> None:
        self._cluster_ips.look_at(ips)
        self._pods.look_at(ips)
        self._tell()

    def _on_claim(self, key: str) -> None:
        claim = self.claims.store.get(key)
        if claim is not None and claim.spec.node_name and self.leases.has_synced:
            if self.monitor.since(claim.spec.node_name) is None:
                self.facts.note(claim.spec.node_name)
            self.monitor.expect(claim.spec.node_name)
        self._claim_parts.update(key)

    async def _announce_first_sync(self) -> None:
        await self.wait_synced()
        self._reserved.tell_gaps(self._pods.gap())
        for key in self.claims.store:
            self._on_claim(key)
        self._stale_nodes.trigger()
        await self._clock.sleep(self._monitor_s)
        self._warm = True
        self._tell_of_nodes()
        await asyncio.get_running_loop().create_future()

    def _tell(self) -> None:
        self.on_change()

    def _tell_of_node(self, node: str) -> None:
        self.facts.note(node)
        self._tell_of_nodes()

    def _tell_of_nodes(self) -> None:
        self.facts.have_changed()
        self.on_node_change()
        self._tell_of_verdicts()

    def _tell_of_verdicts(self) -> None:
        self.on_verdict_change()
