"""`extip scheduler`: distributes IP claims over the controllers that are alive.

::

    run
    ├── definitions the CRDs are there, or made
    ├── informer-services, -ipclaims, -ipnodes, -ipclaimpools, -nodes, ...   on standby too
    ├── liveness    who is alive, from the Leases ────┐
    ├── suspects    whom its neighbours call silent ──┤
    ├── elector                                       │
    │   ├── scheduling   only while leading ◄─────────┤
    │   │   ├── decide
    │   │   └── lane-failovers, -moves, -claims, -publication, -chores
    │   ├── verdicts     the same ◄───────────────────┘
    │   ├── silences     suspicions, as Events
    │   ├── arrivals     where IPs have come up, as Events
    │   └── restoration  claims that went with their kind
    ├── events      what was decided, as Kubernetes Events
    ├── page        with --ui: the page, and its rows
    └── http        /metrics /livez /readyz
"""

import os
import socket
import uuid
from collections.abc import Callable
from functools import partial
from random import Random

from extip import __version__, log
from extip.api.ipcontroller_v1 import IpClaim
from extip.cache.mutation import Overlay
from extip.claims.policy.assignment import taken_over
from extip.clock import Clock, LoopClock
from extip.definitions.kinds import Kinds
from extip.definitions.wait import DefinitionsGate
from extip.election.elector import LeaderElector, Timing
from extip.guard.policy.rules import Guard
from extip.guard.refusals import RefusalLedger, warn_when_unrestricted
from extip.informers.scheduler import SchedulingInputs
from extip.kube.client import ApiClient, connect
from extip.kube.events import EventRecorder
from extip.kube.lease_lock import LeaseLock
from extip.liveness.observed_lease import ObservedLease
from extip.metrics import Metrics
from extip.modes.process import Process
from extip.nodes.silence_events import SilenceEvents
from extip.nodes.verdicts import NodeVerdicts
from extip.page.feed import Feed, Sources
from extip.page.server import PageServer
from extip.pools.allocator import Allocator
from extip.pools.publisher import AllocationEvents, AllocationWriter
from extip.scheduling.arrivals import ArrivalEvents
from extip.scheduling.claim_store import ClaimStore
from extip.scheduling.events import PlacementEvents
from extip.scheduling.failovers import Failovers
from extip.scheduling.scheduler import ClaimScheduler
from extip.settings.scheduler import SchedulerSettings
from extip.supervisor import Component, StopSignals


async def run(settings: SchedulerSettings) -> None:
    """Run until SIGTERM or SIGINT; raises FatalError, alone or in a group."""
    stop = StopSignals()
    clock, metrics, rng = LoopClock(), Metrics("scheduler"), Random()  # noqa: S311 - jitter
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    log.get_logger("scheduler").info(
        "started", version=__version__, identity=identity, pid=os.getpid()
    )
    async with stop.ending(
        connect(settings.kubeconfig, metrics=metrics, instance=settings.instance)
    ) as kube:
        process = assemble(settings, kube, identity, clock=clock, rng=rng, metrics=metrics)
        await process.serving(settings, metrics.registry, kube).alone().run(stop.next)


def assemble(
    settings: SchedulerSettings,
    kube: ApiClient,
    identity: str,
    *,
    clock: Clock,
    rng: Random,
    metrics: Metrics,
) -> Process:
    """Put the mode together, over any API server and clock.

    `identity` is this process's alone among all schedulers, those of before included.
    """
    warn_when_unrestricted(settings.permissions, log.get_logger("scheduler"))
    events = EventRecorder(kube, clock=clock, metrics=metrics)
    kinds = Kinds(kube, events, clock=clock, rng=rng, metrics=metrics)
    inputs = SchedulingInputs(
        kube,
        masks=settings.masks,
        lb_class=settings.lb_class,
        permissions=settings.permissions,
        namespace=settings.namespace,
        monitor_s=settings.monitor_s,
        rebalance_after_s=settings.rebalance_after_s,
        ignored=frozenset(settings.ignored_rules),
        withdraws=settings.without_endpoints == "withdraw",
        kinds=kinds,
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    allocator = Allocator(
        inputs=inputs.allocation.current,
        requests=inputs.allocation.address_requests,
        writer=AllocationWriter(kube),
        events=AllocationEvents(events),
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    store = ClaimStore(kube, known=inputs.service)
    claims = Overlay(inputs.claims.store, clock=clock)
    arrivals = ArrivalEvents(
        events,
        claims=inputs.claims.store,
        nodes=inputs.records,
        synced=inputs.wait_synced,
    )
    failovers = Failovers(
        inputs.records,
        kube,
        inputs.claims.store,
        since=inputs.monitor.since,
        clock=clock,
    )
    scheduling = ClaimScheduler(
        strategy=settings.nodefilter,
        guard=Guard(allowed=settings.permissions.networks()),
        inputs=inputs.current,
        read_nodes=inputs.read_nodes,
        explicit=inputs.explicit_ips,
        allocator=allocator,
        claims=claims,
        store=store,
        events=PlacementEvents(events, on_move=arrivals.on_move),
        failovers=failovers,
        on_admission=RefusalLedger(events, metrics).record,
        explicit_masks=settings.masks.explicit,
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    verdicts = NodeVerdicts(inputs.records, inputs.judge, kube, clock=clock, rng=rng)

    silences = SilenceEvents(events, inputs.records)

    def retry() -> None:
        inputs.wake()
        scheduling.retry()

    lock = LeaseLock(kube, name=settings.lease_name, namespace=settings.lease_namespace)
    elector = LeaderElector(
        ObservedLease(
            lock, on_recovery=inputs.doubt, times=inputs.monitor.answer_times, clock=clock
        ),
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
        on_recovery=retry,
        on_answer=scheduling.answered,
    )
    leading = [
        Component("scheduling", scheduling.run),
        Component("verdicts", verdicts.run),
        Component("silences", silences.run),
        Component("arrivals", arrivals.run),
        Component(
            "restoration",
            partial(inputs.orphans.restore, partial(_to_restore, inputs), store.create),
        ),
    ]

    # Who listens to whom.
    inputs.suspects.add_handler(silences.on_suspicion)
    inputs.claims.add_handler(claims.on_object)
    inputs.claims.add_handler(arrivals.on_claim)
    inputs.claims.add_handler(failovers.on_claim)
    inputs.ip_nodes.add_handler(failovers.on_record)
    inputs.on_change = scheduling.trigger
    inputs.on_node_change = scheduling.trigger_at_once
    inputs.on_verdict_change = verdicts.trigger
    kinds.add_handler(retry)

    return Process(
        mode="scheduler",
        components=[
            *DefinitionsGate(kube, clock=clock, rng=rng).before(
                *inputs.components(), patiently=False
            ),
            Component("elector", partial(elector.run, lambda: leading)),
            Component("events", events.run),
            *_page(settings, inputs, lambda: elector.holder, clock=clock),
        ],
        ready={"caches": inputs.problem, "definitions": kinds.problem},
        cached=inputs.wait_synced,
    )


def _to_restore(inputs: SchedulingInputs, name: str) -> IpClaim | None:
    """Return a claim that went with its kind; one that a standby has taken is that one's."""
    claim = inputs.claims.store.get(name)
    return None if claim is None else taken_over(claim, inputs.records)


def _page(
    settings: SchedulerSettings,
    inputs: SchedulingInputs,
    leader: Callable[[], str],
    *,
    clock: Clock,
) -> list[Component]:
    """Return what serves the page; nothing without `--ui`."""
    if settings.ui is None:
        return []
    sources = Sources(
        claims=inputs.claims.store,
        nodes=inputs.ip_nodes.store,
        leases=inputs.leases.store,
        pools=inputs.pools.store,
        namespace=settings.namespace,
        synced=inputs.wait_synced,
        leader=leader,
    )
    feed = Feed(sources, clock=clock)
    inputs.claims.add_handler(feed.on_claim)
    inputs.ip_nodes.add_handler(feed.on_node)
    inputs.leases.add_handler(feed.on_lease)
    inputs.pools.add_handler(feed.on_pool)
    server = PageServer(settings.ui, feed)
    return [Component("page-feed", feed.run), Component("page", server.run)]
