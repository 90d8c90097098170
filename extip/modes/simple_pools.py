"""Simple mode gives addresses of pools: one process of the cluster does, which holds a Lease.

::

    pools
    ├── waits until the definition of pools exists: pools are optional in simple mode
    └── elector
        └── informer-all-services, -ipclaimpools, -all-namespaces, allocation, lane-publication
"""

import uuid
from collections.abc import Sequence
from functools import partial
from random import Random

from extip import log
from extip.api.names import SIMPLE_LEASE
from extip.api.resources import IP_CLAIM_POOLS
from extip.clock import Clock
from extip.election.elector import LeaderElector, Timing
from extip.errors import ApiAccessError, ApiError, NotFoundError
from extip.informers.simple import ServiceInputs
from extip.kube.client import ApiClient, Scope
from extip.kube.events import EventRecorder
from extip.kube.instance import Instance
from extip.kube.lease_lock import LeaseLock
from extip.metrics import Metrics
from extip.pools.standalone import StandaloneAllocation
from extip.settings.simple import SimpleSettings
from extip.supervisor import Component

_LOOK_S = 10.0
"""Seconds between two looks for the definition of pools."""


class SimplePools:
    """Makes an allocation each time that this process is elected."""

    def __init__(  # noqa: PLR0913 - a composition of parts
        self,
        settings: SimpleSettings,
        client: ApiClient,
        inputs: ServiceInputs,
        events: EventRecorder,
        *,
        node: str,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._inputs = inputs
        self._clock = clock
        self._log = log.get_logger("pools")
        self._allocation: StandaloneAllocation | None = None
        self._denied = False
        """Whether it was told that pools may not be read."""
        self._lease = Instance(settings.instance).lease(SIMPLE_LEASE)
        self._elector = LeaderElector(
            LeaseLock(client, name=self._lease, namespace=settings.namespace),
            name=self._lease,
            namespace=settings.namespace,
            identity=f"{node}_{uuid.uuid4()}",
            timing=Timing(),
            clock=clock,
            rng=rng,
            metrics=metrics,
            on_answer=self._answered,
        )
        self._make = partial(
            StandaloneAllocation,
            client,
            events,
            lb_class=settings.lb_class,
            masks=settings.masks,
            permissions=settings.permissions,
            ours=inputs.selects,
            node_ips=inputs.node_ips,
            leading=lambda: self._elector.leading,
            on_change=inputs.share_anew,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )

    def trigger(self) -> None:
        """Ask for a pass: the addresses that the cluster itself uses may be other ones."""
        if self._allocation is not None:
            self._allocation.trigger()

    async def run(self) -> None:
        """Wait for the definition, then give addresses whenever this process is elected."""
        while not await self._are_defined():
            await self._clock.sleep(_LOOK_S)
        self._log.info("pools_found", lease=self._lease)
        await self._elector.run(self._lead)

    def _answered(self, took_s: float) -> None:
        if self._allocation is not None:
            self._allocation.answered(took_s)

    def _lead(self) -> Sequence[Component]:
        allocation = self._allocation = self._make()
        self._inputs.on_selection = allocation.selection_changed
        self._inputs.namespaces_together = allocation.namespaces_together
        return allocation.components()

    async def _are_defined(self) -> bool:
        try:
            await self._client.list(IP_CLAIM_POOLS, Scope(), limit=1)
        except NotFoundError:
            return False
        except ApiError as error:
            denied = isinstance(error, ApiAccessError) and not self._denied
            self._denied |= denied
            report = self._log.warning if denied else self._log.debug
            report("pools_unreadable", error=str(error))
            return False
        return True
