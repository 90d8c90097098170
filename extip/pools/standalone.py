"""Gives addresses of pools to services where nobody makes claims: in simple mode.

In claims mode a claim says that an address is given. Here the services alone say it: by what they
show. A decided address that its service does not show yet is remembered as a claim of this
process alone. So the allocator decides the same as in claims mode.

It runs only while this process leads, and begins with a list of all services that is no older than
its leadership. So it knows each address that an earlier leader gave, also one whose pool is gone.
Each write carries the version of the service that was decided over, and is over before another
process may lead.

::

    components
    ├── informer-all-services, -ipclaimpools, -all-namespaces
    ├── allocation        passes, when something has changed
    └── lane-publication  addresses of services, status of pools
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

from extip.api.core_v1 import DetailedService, LabelledNamespace
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool
from extip.api.resources import DETAILED_SERVICES, IP_CLAIM_POOLS, LABELLED_NAMESPACES
from extip.cache.fresh import FreshListerWatcher
from extip.cache.informer import Informer
from extip.claims.policy.claims import claim_of
from extip.clock import Clock
from extip.kube.client import ApiClient
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress
from extip.pools.allocator import Allocator
from extip.pools.inputs import AllocationSources
from extip.pools.policy.address_request import address_request
from extip.pools.policy.outcome import Allocation
from extip.pools.policy.recollection import POOL_GONE, of_gone_pools
from extip.pools.policy.service_update import AllocationWrite
from extip.pools.pooled_cluster_ips import PooledClusterIps
from extip.pools.publisher import AllocationEvents, AllocationWriter
from extip.services.explicit_ips import ExplicitIPs
from extip.services.lingering import linger
from extip.services.policy.permissions import Permissions
from extip.services.policy.requests import Masks
from extip.services.policy.written_ips import WrittenIPs, shown_ips, written_ips
from extip.supervisor import Component
from extip.trigger import Trigger
from extip.writes.lanes import Lane, LaneContext, ServerContact

_PLACES = 16
"""Writes at once."""

_RETRY_S = 60.0
"""The longest delay of a failed write, in seconds."""


class StandaloneAllocation:
    """The allocation of one leadership; another leadership makes another one."""

    def __init__(  # noqa: PLR0913 - a composition of parts and plain values
        self,
        client: ApiClient,
        events: EventRecorder,
        *,
        lb_class: str,
        masks: Masks,
        permissions: Permissions,
        ours: Callable[[DetailedService], bool],
        node_ips: Callable[[], frozenset[IPAddress] | None],
        leading: Callable[[], bool],
        on_change: Callable[[], None],
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        """Compose; services that are not `ours` are left alone, and keep what they show.

        `node_ips` returns addresses that nobody may get; None while they are not known. Cluster IPs
        need not be among them.
        `leading` is asked right before each write. `on_change` is called when an address is given
        or freed.
        """
        self._lb_class = lb_class
        self._masks = masks
        self._ours = ours
        self._node_ips = node_ips
        self._leading = leading
        self._on_change = on_change
        self._clock = clock
        self._triggered = Trigger()

        def informer(name: str, lister_watcher: Any) -> Informer[Any]:  # noqa: ANN401
            fresh = FreshListerWatcher(lister_watcher)
            return Informer(name, fresh, clock=clock, rng=rng, metrics=metrics)

        self._services: Informer[DetailedService] = informer(
            "all-services", client.lister_watcher(DETAILED_SERVICES)
        )
        self._pools: Informer[IpClaimPool] = informer(
            "ipclaimpools", client.lister_watcher(IP_CLAIM_POOLS)
        )
        self._namespaces: Informer[LabelledNamespace] = informer(
            "all-namespaces", client.lister_watcher(LABELLED_NAMESPACES)
        )
        self._sources = AllocationSources(
            services=self._services,
            pools=self._pools,
            namespaces=self._namespaces,
            lb_class=lb_class,
            allowed=permissions.networks(),
            on_change=self.trigger,
            ours=ours,
        )
        self._explicit: ExplicitIPs[DetailedService] = ExplicitIPs(
            get=self._services.store.get,
            extract=self._written,
            parse=masks.parse,
            permit=permissions.refuse,
            on_change=lambda _: self.trigger(),
            linger=linger,
        )
        self._services.add_handler(self._explicit.update)
        self._cluster_ips = PooledClusterIps(self._services.store.get, on_change=self.trigger)
        self._services.add_handler(self._cluster_ips.update)
        self._allocator = Allocator(
            inputs=self._sources.current,
            requests=self._sources.address_requests,
            writer=AllocationWriter(client),
            events=AllocationEvents(events),
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        self._contact = ServerContact(self._back, clock)
        self._publication: Lane[AllocationWrite] = Lane(
            "publication",
            self._write,
            LaneContext(contact=self._contact, again=self._look_in, clock=clock, rng=rng),
            places=_PLACES,
            longest_s=_RETRY_S,
            made=self.trigger,
            failed=self._allocator.failed,
        )
        self._last = Allocation()
        self._given: dict[IPAddress, IpClaim] = {}

    def components(self) -> list[Component]:
        """Return what has to run while this process leads."""
        return [
            *(Component(informer.name, informer.run) for informer in self._informers()),
            Component("allocation", self._decide),
            Component("lane-publication", self._publication.run),
        ]

    def trigger(self) -> None:
        """Ask for a pass soon; many calls before it count as one."""
        self._triggered.set()

    def answered(self, took_s: float) -> None:
        """Count an answer of the API server to another request."""
        self._contact.answered(took_s)

    def selection_changed(self, key: str) -> None:
        """Look again whether a service is ours; ``namespace/`` stands for all of a namespace."""
        store = self._services.store
        for one in [k for k in store if k.startswith(key)] if key.endswith("/") else [key]:
            self._sources.look_again(one)
            self._explicit.update(one)

    def namespaces_together(self, ip: IPAddress) -> frozenset[str]:
        """Return the namespaces that share an address by permission of its pool."""
        return self._last.namespaces_together(ip)

    async def _decide(self) -> None:
        for informer in self._informers():
            await informer.wait_synced()
        self._recall()
        while True:
            self._triggered.clear()
            again_s = self._pass()
            await self._clock.sleep(0)  # a pass may have asked for another one, at once
            if again_s != 0:
                await self._triggered.wait_at_most(again_s)

    def _pass(self) -> float | None:
        """Decide some services; return the seconds until the next pass without a trigger."""
        node_ips = self._node_ips()
        if node_ips is None:
            return None
        taken = node_ips | self._cluster_ips.pooled(self._sources.pools)
        self._allocator.take_explicit(self._explicit.changes())
        allocation = self._allocator.plan(taken)
        changes: dict[str, IpClaim | None] = {}
        if allocation is not self._last:
            self._last, changes = allocation, self._give(allocation)
            self._allocator.take_claims(changes)
            self._on_change()
        writes, later_s = self._allocator.due(allocation)
        # What was decided before these claims were known is decided anew in the next pass.
        noted = {
            str(one) for claim in changes.values() if claim for one in claim.spec.services or ()
        }
        self._publication.offer({name: one for name, one in writes.items() if name not in noted})
        # A service that waits for an address makes every allocation another one, and is no reason.
        return 0.0 if changes or self._allocator.pending else later_s

    def _recall(self) -> None:
        """Note the addresses whose pools are gone: nothing but their services tells of them."""
        ours = (one for one in self._services.store.values() if self._ours(one))
        asking = (address_request(service, lb_class=self._lb_class) for service in ours)
        requests = (request for request in asking if request is not None)
        for ip, owners in of_gone_pools(requests, self._sources.pools).items():
            interface = self._masks.parse(str(ip))
            if interface is not None:
                self._given[ip] = claim_of(interface, owners, POOL_GONE)
        self._allocator.take_claims({one.metadata.name: one for one in self._given.values()})

    def _give(self, allocation: Allocation) -> dict[str, IpClaim | None]:
        """Note which addresses are given; return the claims that would say so, by name."""
        changes: dict[str, IpClaim | None] = {}
        for ip in allocation.changed:
            old, request = self._given.pop(ip, None), allocation.request_for(ip, None)
            if old is not None:
                changes[old.metadata.name] = None
            if request is not None:
                new = self._given[ip] = claim_of(*request, allocation.allocated[ip].pool)
                changes[new.metadata.name] = new
                if new == old:
                    del changes[new.metadata.name]
        return changes

    async def _write(self, one: AllocationWrite) -> None:
        if self._leading():  # a thawed process may not know yet that another one leads
            await self._allocator.write(one)

    def _written(self, service: DetailedService) -> WrittenIPs | None:
        return written_ips(service) if self._ours(service) else shown_ips(service)

    def _back(self) -> None:
        self._publication.backoff.hasten()
        self.trigger()

    def _look_in(self, delay_s: float) -> None:
        asyncio.get_running_loop().call_later(delay_s, self.trigger)

    def _informers(self) -> tuple[Informer[Any], ...]:
        return self._services, self._pools, self._namespaces
