"""What the scheduler learns from the API server; kept up to date on standby too."""

import asyncio
import gc
from collections.abc import Callable, Mapping
from functools import partial
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
from extip.cache.derived import Derived, Parts
from extip.cache.informer import Informer
from extip.cache.tracked import TrackedListerWatcher
from extip.cache.vanished import Vanished
from extip.cache.waking import WakingClock
from extip.clock import Clock
from extip.heartbeat.monitor import Monitor
from extip.kube.client import ApiClient
from extip.kube.lease_lock import HeartbeatReader
from extip.metrics import Metrics
from extip.modes.addresses_in_use import ClusterIps
from extip.modes.allocation_inputs import AllocationSources
from extip.modes.census import Census
from extip.modes.endpoint_inputs import EndpointSources
from extip.modes.kinds import Kinds
from extip.modes.lingering import linger
from extip.modes.news import what_decides_about, what_is_decided
from extip.modes.orphans import Orphans
from extip.modes.pod_inputs import PodSources
from extip.modes.reserved_inputs import ReservedSources
from extip.modes.uplink_inputs import UplinkSource
from extip.modes.verdict_sources import VerdictSources
from extip.plan.asking import Asked, asked, gather
from extip.plan.cluster import Cluster
from extip.plan.eligibility import KubernetesNode, NodeFacts, Obstacle
from extip.plan.liveness import Verdict
from extip.plan.nodes import kubernetes_node, located, node_facts
from extip.plan.permissions import Permissions
from extip.plan.requests import Masks, Requests
from extip.reconcile.scheduling import SchedulerInputs
from extip.supervisor import Component


class SchedulingInputs:
    """Informers, the heartbeat monitor, and what follows from them."""

    changed: Callable[[], None]
    """Called when a pass may come to another result."""
    urgent: Callable[[], None]
    """Called instead when that is because of a node."""
    nodes_changed: Callable[[], None]
    """Called when the verdict on a node may be another one."""

    def __init__(  # noqa: PLR0913 - a composition of ports and plain values
        self,
        client: ApiClient,
        *,
        masks: Masks,
        lb_class: str,
        permissions: Permissions,
        namespace: str,
        monitor_s: float,
        rebalance_after_s: float,
        ignored: frozenset[Obstacle],
        kinds: Kinds,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        rng = Random()  # noqa: S311 - jitter
        self.changed = self.urgent = self.nodes_changed = lambda: None
        self._clock = clock
        self._waking = waking = WakingClock(clock)
        self._rebalance_after_s = rebalance_after_s
        self._monitor_s = monitor_s
        self._ignored = ignored | {Obstacle.NO_SUBNET}  # every controller is told its interface
        self._warm = False

        def informer(
            name: str,
            lister_watcher: Any,  # noqa: ANN401
            vanished: Vanished[Any] | None = None,
        ) -> Informer[Any]:
            return Informer(
                name, lister_watcher, clock=waking, rng=rng, metrics=metrics, vanished=vanished
            )

        self.orphans = Orphans(kinds.claims, settled=self._tell, clock=clock, rng=rng)
        self._services: Informer[DetailedService] = informer(
            "services", client.lister_watcher(DETAILED_SERVICES)
        )
        self._pools: Informer[IpClaimPool] = informer(
            "ipclaimpools", client.lister_watcher(IP_CLAIM_POOLS), Vanished(kinds.pools)
        )
        self._namespaces: Informer[LabelledNamespace] = informer(
            "namespaces", client.lister_watcher(LABELLED_NAMESPACES)
        )
        self.claims: Informer[IpClaim] = informer(
            "ipclaims", client.lister_watcher(IP_CLAIMS), self.orphans.vanished
        )
        self._ip_nodes: Informer[IpNode] = informer(
            "ipnodes", client.lister_watcher(IP_NODES), Vanished(kinds.nodes)
        )
        self._nodes: Informer[Node] = informer("nodes", client.lister_watcher(NODES))
        leases = client.lister_watcher(
            LEASES, namespace=namespace, label_selector=HEARTBEAT_SELECTOR
        )
        self._leases: Informer[Lease] = informer(
            "leases",
            TrackedListerWatcher(
                leases,
                opened=lambda: self.monitor.watch_opened(),  # noqa: PLW0108 - made below
                closed=lambda: self.monitor.watch_closed(),  # noqa: PLW0108
            ),
        )
        self.monitor = Monitor(
            HeartbeatReader(client, namespace=namespace),
            get=self._leases.store.get,
            monitor_s=monitor_s,
            changed=self._liveness_changed,
            doubt=self.doubt,
            clock=clock,
            metrics=metrics,
        )
        self._leases.add_handler(self.monitor.lease_changed)
        self._census = Census(
            self.monitor,
            records=self._ip_nodes.store,
            leases=self._leases.store,
            claims=self.claims.store,
            namespace=namespace,
            after_s=monitor_s,
            ready=lambda: all(source.has_synced for source in self._sources()),
            changed=self._tell_of_nodes,
        )
        self._leases.add_handler(self._census.lease_changed)
        self._ip_nodes.add_handler(self._census.record_changed)
        self._uplinks = self._follow_uplinks()
        self.claims.add_handler(self._census.claim_changed)
        self.allocation = AllocationSources(
            services=self._services,
            pools=self._pools,
            namespaces=self._namespaces,
            lb_class=lb_class,
            allowed=permissions.networks(),
            changed=self._tell,
        )
        self._requests: Derived[DetailedService, Asked, Requests] = Derived(
            get=self._services.store.get,
            extract=asked,
            combine=partial(gather, parse=masks.parse, permit=permissions.refuse),
            changed=self._tell,
            linger=linger,
        )
        self._cluster_ips = ClusterIps(self._services.store.get)
        self._reserved = ReservedSources(
            client, self._nodes, self._ip_nodes, changed=self._tell, clock=waking, rng=rng
        )
        self._endpoints = EndpointSources(
            client, self._services, changed=self._tell, clock=waking, rng=rng, metrics=metrics
        )
        slices, need = self._endpoints.slices, self._endpoints.need
        self._pods = PodSources(self._nodes, slices, begin=need, changed=self._tell, clock=waking)
        self._kubernetes: Derived[Node, tuple[str, KubernetesNode], dict[str, KubernetesNode]] = (
            Derived(
                get=self._nodes.store.get,
                extract=lambda node: (node.metadata.name, kubernetes_node(node)),
                combine=dict,
                changed=self._tell_of_nodes,
            )
        )
        self._verdicts = VerdictSources(
            self.monitor,
            facts=lambda name: self._facts(name, self._kubernetes.value().get(name)),
            lease=self._leases.store.get,
            kubernetes=lambda: self._kubernetes.value(),  # noqa: PLW0108 - it is another one later
            namespace=namespace,
            patience_s=monitor_s,
            ignored=self._ignored,
            clock=clock,
        )
        self._services.add_handler(self._requests.update)
        self._services.add_handler(self._cluster_ips.update)
        self._nodes.add_handler(self._kubernetes.update)
        self._ip_nodes.add_handler(
            Parts(
                get=self._ip_nodes.store.get,
                extract=what_decides_about,
                changed=self._tell_of_nodes,
            ).update
        )
        self._claim_parts = Parts(
            get=self.claims.store.get, extract=what_is_decided, changed=self._tell
        )
        self.claims.add_handler(self._claim_changed)

    def _follow_uplinks(self) -> UplinkSource:
        source = UplinkSource(
            self._ip_nodes.store,
            heard_again_at=self.monitor.back_at,
            steady_s=self._rebalance_after_s,
            changed=self._tell_of_nodes,
            clock=self._clock,
        )
        self._ip_nodes.add_handler(source.record_changed)
        return source

    def current(self) -> SchedulerInputs | None:
        """Return the inputs; None until every cache has synced and liveness is known.

        Liveness counts as known when nothing is unknown of any node, or at the latest one monitor
        period after the caches have synced: before that, the first controller to be heard would
        get everything. Nodes that are alive have so long to register and tell what they hold.

        None also while the kind of claims is missing, and until claims that went with it are there
        again.
        """
        if self.orphans.pending or not self._knows() or self._endpoints.awaited:
            return None
        in_use = self._pods.in_use(self._requests.value(), self._cluster_ips, every=True)
        verdicts = self.monitor.nodes()
        kubernetes = self._kubernetes.value()
        names = sorted({*verdicts, *self._ip_nodes.store})
        return SchedulerInputs(
            requests=self._requests.value(),
            reserved=self._reserved.current(in_use),
            cluster=Cluster(
                nodes=tuple(self._facts(name, kubernetes.get(name)) for name in names),
                unknown=frozenset(n for n in names if self.monitor.verdict(n) is Verdict.UNKNOWN),
                successors=self.monitor.successors(),
                unsettled=self._uplinks.unsettled(),
                returning=self._uplinks.returning(names),
                ignored=self._ignored,
                located=located(self._ip_nodes.store.values()),
                local_endpoints=self._endpoints.current(),
                node_selectors=self.allocation.node_selectors(),
                registered={
                    n.metadata.name: n.metadata.created for n in self._ip_nodes.store.values()
                },
            ),
            steady=frozenset(n for n in names if self._is_steady(n)),
        )

    @property
    def records(self) -> Mapping[str, IpNode]:
        """The IpNodes, by name."""
        return self._ip_nodes.store

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
            Component("first-sync", self._announce_first_sync),
            Component("orphans", self.orphans.expire),
        ]

    def wake(self) -> None:
        """Try at once what failed: the API server is back, and no cache need wait its backoff out.

        Also when a kind is. Until the Leases are seen again no node is found dead.
        """
        self._waking.wake()

    def doubt(self, since_s: float) -> None:
        """Watch anew what has been silent since that time: its connection may be dead."""
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
            self._ip_nodes,
            self._nodes,
            self._leases,
            self._pools,
            self._namespaces,
        )

    def _sources(self) -> tuple[Informer[Any] | ReservedSources, ...]:
        return (*self._informers(), self._reserved)

    def _all_registered(self) -> bool:
        told = {n.metadata.name for n in self._ip_nodes.store.values() if n.status.links}
        return all(n in told for n, v in self.monitor.nodes().items() if v is Verdict.ALIVE)

    def _facts(self, name: str, kubernetes: KubernetesNode | None) -> NodeFacts:
        return node_facts(
            name,
            self._ip_nodes.store.get(name),
            kubernetes,
            alive=self.monitor.verdict(name) is Verdict.ALIVE,
            leaving=bool(self.monitor.leaving(name)),
            isolated=self.monitor.isolated(name),
            unread=self.monitor.unread(name),
        )

    def _is_steady(self, name: str) -> bool:
        if not self._rebalance_after_s or self.monitor.verdict(name) is not Verdict.ALIVE:
            return False
        if self.monitor.isolated(name) or self.monitor.unread(name):
            return False
        since = self.monitor.since(name)
        if since is None:
            return False
        since = max(since, self._uplinks.back_at(name))
        return self._clock.monotonic() - since >= self._rebalance_after_s

    def _knows(self) -> bool:
        self._warm = self._warm or (self.monitor.settled and self._all_registered())
        known = all(source.has_synced for source in self._sources())
        return self._warm and known and not self._pods.awaited

    def _liveness_changed(self, node: str) -> None:
        self._tell_of_nodes()
        self._census.look()
        self._uplinks.node_changed()
        if self.monitor.verdict(node) is Verdict.UNKNOWN:
            loop = asyncio.get_running_loop()
            loop.call_later(self._monitor_s, self._tell_of_verdicts)
        if self._rebalance_after_s and self.monitor.verdict(node) is Verdict.ALIVE:
            loop = asyncio.get_running_loop()
            loop.call_later(self._rebalance_after_s + 0.1, self._tell)

    def _claim_changed(self, key: str) -> None:
        claim = self.claims.store.get(key)
        if claim is not None and claim.spec.node_name and self._leases.has_synced:
            self.monitor.expect(claim.spec.node_name)
        self._claim_parts.update(key)

    async def _announce_first_sync(self) -> None:
        await self.wait_synced()
        self._reserved.tell_gaps(self._pods.gap())
        gc.freeze()  # the caches are here to stay: spare every later collection the walk
        for key in self.claims.store:
            self._claim_changed(key)
        self._census.look()
        await self._clock.sleep(self._monitor_s)
        self._warm = True
        self._tell_of_nodes()
        await asyncio.get_running_loop().create_future()

    def _tell(self) -> None:
        self.changed()

    def _tell_of_nodes(self) -> None:
        self.urgent()
        self._tell_of_verdicts()

    def _tell_of_verdicts(self) -> None:
        self.nodes_changed()
