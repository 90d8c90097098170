"""A scheduler without API server: its caches are filled by hand, and no write is ever made.

So a measurement has what an event costs the scheduler itself: its caches, the allocation of
addresses, the guard, the placement, and what is to be written.
"""

import time
from collections.abc import Iterable
from ipaddress import IPv4Address
from math import inf
from random import Random
from typing import Any, cast

import msgspec

from extip.api.coordination_v1 import Lease, LeaseSpec
from extip.api.core_v1 import DetailedService, Node
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.names import (
    ALLOCATED_ANNOTATION,
    AUTO,
    AUTO_ANNOTATION,
    heartbeat_lease,
    service_label,
)
from extip.cache.mutation import Overlay
from extip.clock import LoopClock
from extip.definitions.kinds import Kinds
from extip.guard.policy.rules import Guard
from extip.informers.scheduler import SchedulingInputs
from extip.kube.client import ApiClient
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.pools.allocator import Allocator
from extip.scheduling.failovers import Failovers
from extip.scheduling.policy.placement import Strategy
from extip.scheduling.scheduler import ClaimScheduler
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks

_FIRST = int(IPv4Address("10.64.0.1"))


class _Nobody:
    """An API server that is never asked, and sinks for everything that would be told."""

    def lister_watcher(self, _resource: object, **_scope: object) -> object:
        return None

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args, **_kwargs: None


class Pacer(LoopClock):
    """A clock that notes for how long the loop was held between two sleeps."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        """Processor time of each step, in seconds."""
        self._since = time.process_time()

    def begin(self) -> None:
        """Forget the steps so far, and begin one."""
        self.steps = []
        self._since = time.process_time()

    def note(self) -> None:
        """Note the end of a step."""
        now = time.process_time()
        self.steps.append(now - self._since)
        self._since = now

    async def sleep(self, seconds: float) -> None:
        """Suspend the task for that many seconds."""
        self.note()
        await super().sleep(seconds)


class SchedulerWorld:
    """A scheduler with services, their claims and nodes, at rest."""

    def __init__(
        self, claims: int, nodes: int, *, cidr: str = "10.64.0.0/10", explicit: bool = False
    ) -> None:
        """Fill the caches.

        With `explicit` no service is a load balancer: each has its IP in `spec.externalIPs`. A
        person has written those with an even number, the others are of the pool.
        """
        clock = self.pacer = Pacer()
        self._cidr = cidr
        self._explicit = explicit
        metrics, rng = Metrics("bench"), Random(1)  # noqa: S311 - repeatable
        nobody = cast("Any", _Nobody())
        client = cast("ApiClient", nobody)
        events = EventRecorder(client, clock=clock, metrics=metrics)
        self.version = 1
        self.inputs = SchedulingInputs(
            client,
            masks=Masks(v4=32, v6=128),
            lb_class="",
            permissions=Permissions(),
            namespace="extip",
            monitor_s=1e6,
            rebalance_after_s=0.0,
            ignored=frozenset(),
            kinds=Kinds(client, events, clock=clock, rng=rng, metrics=metrics),
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self.allocator = Allocator(
            inputs=self.inputs.allocation.current,
            requests=self.inputs.allocation.address_requests,
            writer=nobody,
            events=nobody,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self.overlay = Overlay(self.inputs.claims.store, clock=clock)
        self.inputs.claims.add_handler(self.overlay.on_object)
        self.scheduler = ClaimScheduler(
            strategy=Strategy.FAIR,
            guard=Guard(),
            inputs=self.inputs.current,
            read_nodes=self.inputs.read_nodes,
            explicit=self.inputs.explicit_ips,
            allocator=self.allocator,
            claims=self.overlay,
            store=nobody,
            events=nobody,
            failovers=Failovers(
                {}, nobody, self.inputs.claims.store, since=self.inputs.monitor.since, clock=clock
            ),
            on_admission=lambda _admission: None,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self._fill(claims, nodes)

    def _fill(self, claims: int, nodes: int) -> None:
        inputs = self.inputs
        inputs.monitor.watch_opened()
        for number in range(nodes):
            name = f"node-{number:04}"
            self.put(inputs._nodes, Node, metadata={"name": name}, status={}, spec=_POD_CIDR)
            self.drain(name, draining=False)
            self.beat(name)
        self.pool()
        for number in range(claims):
            self.service(number, shown=True)
            self.claim(number, f"node-{number % nodes:04}")
        for informer in inputs._informers():
            informer._synced.set()
        inputs._reserved._control_plane._read_once.set()
        inputs._warm = True

    def put(self, informer: Any, kind: type[msgspec.Struct], **fields: Any) -> None:
        """Deliver an object, as a watch does."""
        self.version += 1
        fields["metadata"] |= {"resourceVersion": str(self.version)}
        found = msgspec.convert(fields, kind)
        key = informer.store.put(found)
        for handler in informer._handlers:
            handler(key)

    def drain(self, node: str, *, draining: bool = True) -> None:
        """Deliver the record of a node, which a person may have drained."""
        self.put(
            self.inputs.ip_nodes,
            IpNode,
            metadata={"name": node},
            spec={"draining": draining},
            status={"links": [{"name": "eth0", "up": True}]},
        )

    def pool(self, *, priority: int = 0, selects: bool = False) -> None:
        """Deliver the pool, which a person may have edited; with a selector of nodes it `selects`.

        The selector selects all nodes.
        """
        spec = {"cidr": self._cidr, "priority": priority}
        spec |= {"nodeSelector": {}} if selects else {}
        self.put(self.inputs.pools, IpClaimPool, metadata={"name": "pool"}, spec=spec)

    def give_up(self, number: int) -> None:
        """Deliver that a service asks for no address any more, and that its claim is gone."""
        self.service(number, kind="ClusterIP")
        name = self._claim_name(number)
        self.inputs.claims.store.discard(name)
        for handler in self.inputs.claims._handlers:
            handler(name)

    def _claim_name(self, number: int) -> str:
        return f"{address(number).replace('.', '-')}-{self._mask(number)}"

    def _by_hand(self, number: int) -> bool:
        return self._explicit and number % 2 == 0

    def _mask(self, number: int) -> str:
        return "32" if self._by_hand(number) else self._cidr.partition("/")[2]

    def beat(self, node: str, *, number: int = 0) -> None:
        """Deliver a heartbeat."""
        self.version += 1
        spec = LeaseSpec(holder_identity=node, renew_time=f"2026-01-01T00:00:00.{number:06}Z")
        metadata = {"name": heartbeat_lease(node), "namespace": "extip"}
        self.put(self.inputs.leases, Lease, metadata=metadata, spec=msgspec.to_builtins(spec))

    def die(self, nodes: Iterable[str]) -> None:
        """Have nodes found dead at once."""
        for node in nodes:
            self.inputs.monitor._condemn(node)

    @property
    def waiting(self) -> int:
        """The number of claims with a decided write that nobody makes."""
        return len(self.scheduler._backlog._writes)

    def service(
        self,
        number: int,
        *,
        shown: bool = False,
        local: bool = False,
        kind: str = "LoadBalancer",
    ) -> None:
        """Deliver a service; a load balancer asks for an address of the pool."""
        name = f"service-{number:06}"
        recorded = shown and self._explicit and not self._by_hand(number)
        annotations = {AUTO_ANNOTATION: AUTO} if self._explicit else {}
        annotations |= {ALLOCATED_ANNOTATION: address(number)} if recorded else {}
        spec = {
            "type": "ClusterIP" if self._explicit else kind,
            "externalIPs": [address(number)] if self._by_hand(number) or recorded else [],
            "clusterIPs": [str(IPv4Address(int(IPv4Address("10.32.0.1")) + number))],
            "ports": [{"port": 80, "protocol": "TCP"}],
        } | ({"externalTrafficPolicy": "Local"} if local else {})
        ways = [{"ip": address(number)}] if shown and not self._explicit else []
        self.put(
            self.inputs._services,
            DetailedService,
            metadata={
                "name": name,
                "namespace": "default",
                "uid": name,
                "annotations": {} if self._by_hand(number) else annotations,
            },
            spec=spec,
            status={"loadBalancer": {"ingress": ways}},
        )

    def claim(self, number: int, node: str, *, up: bool = True) -> None:
        """Deliver the claim of a service."""
        ip, name = address(number), f"service-{number:06}"
        of_pool = {} if self._by_hand(number) else {"ip-pool-name": "pool"}
        condition = {"type": "Assigned", "status": "True", "reason": "Assigned"}
        self.put(
            self.inputs.claims,
            IpClaim,
            metadata={
                "name": self._claim_name(number),
                "uid": ip,
                "labels": {
                    "ipnode": node,
                    **of_pool,
                    "app.kubernetes.io/managed-by": "extip",
                    service_label("default", name): "",
                },
            },
            spec={
                "cidr": f"{ip}/{self._mask(number)}",
                "nodeName": node,
                "services": [{"namespace": "default", "name": name, "uid": name}],
            },
            status={
                "conditions": [condition | {"message": f"to {node}"}],
                "holder": node if up else "",
            },
        )

    def claim_later(self, number: int, node: str) -> None:
        """Deliver the claim of a service when the facts about nodes are a second old."""
        self.inputs.facts._until = -inf
        self.claim(number, node, up=number % 2 == 0)

    async def settle(self) -> float:
        """Make the passes that follow an event; return their processor time in seconds."""
        self.pacer.begin()
        while await self.scheduler._pass() == 0:
            self.pacer.note()
        self.pacer.note()
        return sum(self.pacer.steps)


_POD_CIDR = {"podCIDRs": ["10.244.0.0/24"]}


def address(number: int) -> str:
    """Return the address of a service."""
    return str(IPv4Address(_FIRST + number))
