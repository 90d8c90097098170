"""`extip scheduler`: distributes IP claims over the controllers that are alive.

::

    run
    ├── definitions the CRDs are there, or made
    ├── informer-services, -ipclaims, -ipnodes, -ipclaimpools, -nodes, ...   on standby too
    ├── liveness    who is alive, from the Leases ────┐
    ├── elector                                       │
    │   ├── scheduling   only while leading ◄─────────┤
    │   │   ├── decide
    │   │   └── lane-moves, -claims, -publication, -chores
    │   ├── verdicts     the same ◄───────────────────┘
    │   └── restoration  claims that went with their kind
    ├── events      what was decided, as Kubernetes Events
    └── http        /metrics /livez /readyz
"""

import os
import socket
import uuid
from functools import partial
from random import Random

from extip import __version__, log
from extip.api.ipcontroller_v1 import IpClaim, ServiceReference
from extip.api.resources import IP_CLAIMS
from extip.cache.mutation import Overlay
from extip.clock import LoopClock
from extip.health import HealthServer
from extip.kube.client import connect
from extip.kube.events import EventRecorder, ObjectReference
from extip.kube.lease_lock import LeaseLock
from extip.kube.reports import NodeRecords
from extip.leaderelection import LeaderElector, Timing
from extip.metrics import Metrics
from extip.modes.allocation_outputs import AllocationEvents, AllocationWriter
from extip.modes.claim_store import ApiClaimStore
from extip.modes.definitions import DefinitionsGate
from extip.modes.heard_lease import RepeatedLease
from extip.modes.kinds import Kinds
from extip.modes.refusal_events import EventReporter, warn_when_unrestricted
from extip.modes.scheduler_inputs import SchedulingInputs
from extip.plan.eligibility import Obstacle
from extip.plan.guard import Guard
from extip.plan.placement import Strategy
from extip.plan.requests import Masks
from extip.reconcile.allocation import Allocator
from extip.reconcile.node_verdicts import NodeVerdicts
from extip.reconcile.refusals import RefusalLedger
from extip.reconcile.scheduling import ClaimScheduler
from extip.settings import SchedulerSettings
from extip.supervisor import Component, StopSignals, run_beside


async def run(settings: SchedulerSettings) -> None:
    """Run until SIGTERM or SIGINT; raises FatalError, alone or in a group."""
    stop = StopSignals()
    clock, metrics, logger = LoopClock(), Metrics("scheduler"), log.get_logger("scheduler")
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    rng = Random()  # noqa: S311 - jitter
    logger.info("started", version=__version__, identity=identity, pid=os.getpid())
    warn_when_unrestricted(settings.permissions, logger)
    async with stop.ending(connect(settings.kubeconfig, metrics=metrics)) as client:
        events = EventRecorder(client, clock=clock, metrics=metrics)
        kinds = Kinds(client, events, clock=clock, rng=rng, metrics=metrics)
        inputs = SchedulingInputs(
            client,
            masks=Masks(v4=settings.mask, v6=settings.mask_v6),
            lb_class=settings.lb_class,
            permissions=settings.permissions,
            namespace=settings.namespace,
            monitor_s=settings.monitor_s,
            rebalance_after_s=settings.rebalance_after_s,
            ignored=settings.ignored_rules,
            kinds=kinds,
            clock=clock,
            metrics=metrics,
        )
        store = ApiClaimStore(client, known=inputs.service)
        scheduling = ClaimScheduler(
            strategy=Strategy(settings.nodefilter),
            guard=Guard(allowed=settings.permissions.networks()),
            inputs=inputs.current,
            allocator=Allocator(
                inputs=inputs.allocation.current,
                store=AllocationWriter(client),
                reporter=AllocationEvents(events),
                clock=clock,
                rng=rng,
                metrics=metrics,
            ),
            claims=Overlay(inputs.claims.store, clock=clock),
            store=store,
            historian=_Historian(events),
            decided=RefusalLedger(EventReporter(events), metrics).record,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        inputs.changed = scheduling.trigger
        verdicts = NodeVerdicts(
            inputs.records, inputs.judge, NodeRecords(client), clock=clock, rng=rng
        )
        inputs.nodes_changed = verdicts.trigger
        inputs.urgent = scheduling.hurry

        def reached() -> None:
            inputs.wake()
            scheduling.retry()

        kinds.back = reached
        lock = LeaseLock(client, name=settings.lease_name, namespace=settings.lease_namespace)
        elector = LeaderElector(
            RepeatedLease(lock, repeated=inputs.doubt, clock=clock),
            name=settings.lease_name,
            namespace=settings.lease_namespace,
            identity=identity,
            timing=Timing(
                lease_duration_s=settings.lease_duration_s,
                renew_deadline_s=settings.renew_deadline_s,
                retry_period_s=settings.retry_period_s,
            ),
            clock=clock,
            rng=rng,
            metrics=metrics,
            sole=not settings.leader_elect,
            reached=reached,
            answered=scheduling.answered,
        )
        restore = partial(inputs.orphans.restore, inputs.claims.store.get, store.create)
        leading = [
            Component("scheduling", scheduling.run),
            Component("verdicts", verdicts.run),
            Component("restoration", restore),
        ]
        gate = DefinitionsGate(client, clock=clock, rng=rng)
        components = [
            Component("definitions", gate.run),
            *map(gate.hold, inputs.components()),
            Component("elector", partial(elector.run, lambda: leading)),
            Component("events", events.run),
            *_http(settings, inputs, kinds, metrics),
        ]
        logger.info("stopping", signal=await run_beside(components, stop.next))


class _Historian:
    """Moves as Kubernetes Events on the claims; implements `Historian`."""

    def __init__(self, events: EventRecorder) -> None:
        self._events = events

    def moved(self, claim: IpClaim, node: str, why: str) -> None:
        """Record that `claim` was given to another node."""
        before = claim.spec.node_name
        self._events.record(
            _claim_reference(claim),
            type="Normal",
            reason="Moved" if before else "Assigned",
            message=f"from {before} ({why}) to {node}" if before else f"to {node}: {why}",
        )

    def contested(self, claim: IpClaim) -> None:
        """Record that somebody undoes what is written to the claim."""
        self._events.record(
            _claim_reference(claim),
            type="Warning",
            reason="FieldContested",
            message="another program undoes what the scheduler writes to this claim each time, or "
            "deletes it; the scheduler writes it ever more rarely: have that one leave it alone",
        )

    def not_served(self, service: ServiceReference, claim: IpClaim) -> None:
        """Record on the service that its IP is where it has no endpoint."""
        ip = claim.spec.cidr.partition("/")[0]
        self._events.record(
            ObjectReference(
                kind="Service", namespace=service.namespace, name=service.name, uid=service.uid
            ),
            type="Warning",
            reason=Obstacle.NO_ENDPOINT.value,
            message=f"{ip} is on {claim.spec.node_name}, where this service has no ready endpoint "
            "(externalTrafficPolicy Local), but more of the services that share the IP have one",
        )


def _claim_reference(claim: IpClaim) -> ObjectReference:
    return ObjectReference(
        api_version=IP_CLAIMS.api_version,
        kind=IP_CLAIMS.kind,
        name=claim.metadata.name,
        uid=claim.metadata.uid,
    )


def _http(
    settings: SchedulerSettings, inputs: SchedulingInputs, kinds: Kinds, metrics: Metrics
) -> list[Component]:
    if settings.http is None:
        return []
    server = HealthServer(
        settings.http,
        live={},
        ready={"caches": inputs.problem, "definitions": kinds.problem},
        registry=metrics.registry,
    )
    return [Component("http", server.run)]
