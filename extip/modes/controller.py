"""`extip controller`: brings the claims of its node up there, and says that the node is alive.

::

    run
    ├── definitions our kinds are served ─► holds back the informers and the registration
    ├── informer-ipclaims          claims of this node ──┐
    ├── informer-former-ipclaims   claims that left ─────┼─► inputs ──► addresses ──► interface
    ├── informer-standby-ipclaims  claims to take over ──┤──► standby-check ──► registration
    ├── informer-ipnodes           other controllers ────┤                │   └──► announcer
    ├── informer-nodes             for claims by hand ───┘                │
    ├── handover    addresses kept until the next holder is up            ├──► claim-status
    ├── cache-freshness  claims are read anew after silence ◄── heartbeat └──► registration
    ├── heartbeat   renews the node's Lease
    ├── unread      claims cannot be read, and heartbeats are taken ──► heartbeat
    ├── isolation   does anybody on the interface answer, who does not? ──► heartbeat, registration
    ├── monitor     netlink events ──► addresses
    ├── conflicts   other stations with our IPs ◄── wire-watch; ──► addresses, claim-status
    ├── prober      holds a new IP back until no other station has it
    ├── events      refusals, as Kubernetes Events on claims and services
    └── http        /metrics /livez /readyz
"""

import os
from random import Random

from extip import __version__, log
from extip.addresses.conflict.events import ConflictEvents
from extip.addresses.links_in_use import LinksInUse
from extip.api.names import heartbeat_lease
from extip.claims.status import CONCURRENCY, ClaimStatusWriter
from extip.clock import Clock, LoopClock
from extip.definitions.kinds import Kinds
from extip.definitions.wait import DefinitionsGate
from extip.fencing.lease_fencing import LeaseFencing
from extip.fencing.unread_claims import UnreadClaims
from extip.guard.refusals import RefusalLedger
from extip.handover.standby_check import StandbyCheck
from extip.informers.controller import ClaimInputs
from extip.kube.client import ApiClient, connect
from extip.kube.events import EventRecorder
from extip.kube.lease_lock import LeaseLock
from extip.liveness.heartbeat import Publisher
from extip.liveness.observed_lease import ObservedLease
from extip.metrics import Metrics
from extip.modes.addresses import assemble_addresses
from extip.modes.network import Network
from extip.modes.process import Process
from extip.net.host import open_host
from extip.nodes.claim_outcomes import ClaimOutcomes, MaskWarning
from extip.nodes.departure import Departure
from extip.nodes.registration import NodeRegistration
from extip.settings.controller import ControllerSettings
from extip.supervisor import Component, StopSignals
from extip.trigger import Trigger
from extip.uplink.isolation_watch import IsolationWatch
from extip.uplink.objection import Objection
from extip.uplink.policy.isolation import round_s
from extip.uplink.policy.isolations import Isolations


async def run(settings: ControllerSettings) -> None:
    """Run until SIGTERM or SIGINT, then until others have the IPs; raises FatalError."""
    stop = StopSignals()
    clock, metrics = LoopClock(), Metrics("controller")
    log.get_logger("controller").info(
        "started",
        version=__version__,
        node=settings.node,
        link=settings.iface,
        ttl_s=settings.lifetime_s,
        pid=os.getpid(),
    )
    async with (
        stop.ending(
            connect(settings.kubeconfig, metrics=metrics, instance=settings.instance)
        ) as kube,
        open_host(clock=clock, metrics=metrics, reports=True) as net,
    ):
        rng = Random()  # noqa: S311 - jitter
        process = assemble(settings, kube, net, clock=clock, rng=rng, metrics=metrics)
        await process.serving(settings, metrics.registry, kube).run(stop.next)


def assemble(
    settings: ControllerSettings,
    kube: ApiClient,
    net: Network,
    *,
    clock: Clock,
    rng: Random,
    metrics: Metrics,
) -> Process:
    """Put the mode together, over any API server, network and clock."""
    changed = Trigger()  # a pass over the interface may come to another result
    in_use = LinksInUse()
    named = not settings.links.only
    isolations = Isolations(round_s(settings.heartbeat_s), named=named)
    events = EventRecorder(kube, clock=clock, metrics=metrics, instance=settings.node)
    kinds = Kinds(kube, events, clock=clock, rng=rng, metrics=metrics)
    inputs = ClaimInputs(
        kube,
        node=settings.node,
        links=settings.links,
        masks=settings.masks,
        cache_valid_s=settings.cache_valid_s,
        cache_valid_at_most_s=settings.cache_valid_at_most_s,
        handover_s=settings.drain_timeout_s,
        isolated=lambda ip: in_use.place(ip) in isolations.isolated,
        is_up=in_use.is_up,
        kinds=kinds,
        on_change=changed.set,
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    heartbeat = Publisher(
        _lease(settings, kube, inputs, clock),
        node=settings.node,
        namespace=settings.namespace,
        identity=net.place(settings.node),
        heartbeat_s=settings.heartbeat_s,
        lease_s=settings.lease_s if settings.on_api_loss == "release" else 0.0,
        unread=lambda: bool(inputs.unread()),
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    addresses = assemble_addresses(
        settings,
        net,
        in_use=in_use,
        inputs=inputs.current,
        changed=changed,
        fencing=_fencing(settings, inputs, heartbeat, isolations, changed),
        cluster_macs=inputs.controller_macs,
        opponents=inputs.takeovers.opponents,
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    uplink = IsolationWatch(
        net.neighbours,
        uplinks=lambda: in_use.selected,
        neighbours=inputs.neighbourhood.neighbours,
        ring=inputs.neighbourhood.ring,
        isolations=isolations,
        clock=clock,
        metrics=metrics,
    )
    standby = StandbyCheck(
        inputs.watches.to_take.store,
        refusals=addresses.observer.refusals,
        masks=settings.masks,
        resync_s=settings.resync_s,
        clock=clock,
    )
    registration = NodeRegistration(
        kube,
        watched=inputs.record,
        node=settings.node,
        selection=settings.links,
        version=__version__,
        claims=lambda: len(inputs.together().claims),
        node_ips=inputs.node_ips,
        isolated=lambda: isolations.isolated,
        held=inputs.held,
        silent=uplink.silent,
        refused=standby.refused,
        nodes=lambda: len(inputs.ip_nodes.store),
        links=net.idle_links,
        addresses=net.idle_addresses,
        resync_s=settings.resync_s,
        clock=clock,
        rng=rng,
    )
    statuses = ClaimStatusWriter(
        inputs.claims.store,
        kube,
        node=settings.node,
        clock=clock,
        rng=rng,
    )
    outcomes = ClaimOutcomes(
        statuses,
        in_use,
        problem=addresses.reconciler.problem,
        claims=inputs.together,
        links=settings.links,
        clock=clock,
    )
    departure = Departure(
        inputs.freshness,
        inputs.drain_wait,
        heartbeat,
        addresses.reconciler,
        statuses,
        keeps_addresses=settings.on_exit == "keep",
        needs_lease=settings.on_api_loss == "release",
        timeout_s=settings.drain_timeout_s,
    )

    # Who listens to whom.
    addresses.reconciler.add_handler(RefusalLedger(events, metrics).record)
    addresses.reconciler.add_handler(outcomes.on_admission)
    addresses.reconciler.add_handler(
        MaskWarning(settings.masks, claims=inputs.together).on_admission
    )
    addresses.conflicts.add_handler(
        ConflictEvents(events, owners=inputs.owners, node=settings.node).on_conflicts
    )
    addresses.conflicts.add_handler(outcomes.on_conflicts)
    inputs.claims.add_handler(statuses.on_claim)
    inputs.ip_nodes.add_handler(registration.on_record)
    inputs.watches.to_take.add_handler(standby.on_claim)
    standby.add_handler(registration.trigger)
    outcomes.add_handler(inputs.drain_wait.trigger)
    outcomes.add_handler(registration.trigger)
    uplink.add_handler(heartbeat.trigger)
    uplink.add_handler(registration.trigger)
    uplink.add_silence_handler(registration.trigger)
    inputs.ip_nodes.add_handler(
        Objection(settings.node, inputs.ip_nodes.store, on_accused=heartbeat.trigger).on_record
    )
    heartbeat.report_reachability(uplink)
    kinds.add_handler(inputs.wake)
    kinds.add_handler(registration.forget)

    return Process(
        mode="controller",
        components=[
            *DefinitionsGate(kube, clock=clock, rng=rng).before(
                *inputs.components(),
                Component("registration", registration.run),
                patiently=True,
            ),
            Component("standby-check", standby.run),
            *addresses.components,
            Component("isolation", uplink.run),
            Component("heartbeat", heartbeat.run),
            *(Component(f"claim-status-{n}", statuses.run) for n in range(CONCURRENCY)),
            Component("report", outcomes.run),
            Component("unread", _unread(inputs, heartbeat, clock).run),
            Component("events", events.run),
        ],
        live={"addresses": addresses.reconciler.stuck},
        ready={
            "caches": inputs.problem,
            "definitions": kinds.problem,
            "claims": inputs.unread,
            "heartbeat": heartbeat.problem,
            "addresses": addresses.reconciler.problem,
            "ports": addresses.ports_problem,
        },
        drain=departure.drain,
        release=departure.release,
    )


def _lease(
    settings: ControllerSettings, kube: ApiClient, inputs: ClaimInputs, clock: Clock
) -> ObservedLease:
    """Return the Lease of this node; what becomes of calls about it says much about the rest."""
    lease = LeaseLock(kube, name=heartbeat_lease(settings.node), namespace=settings.namespace)
    return ObservedLease(
        lease, on_recovery=inputs.doubt, on_heartbeat=inputs.on_heartbeat, clock=clock
    )


def _fencing(
    settings: ControllerSettings,
    inputs: ClaimInputs,
    heartbeat: Publisher,
    isolations: Isolations,
    changed: Trigger,
) -> LeaseFencing:
    return LeaseFencing(
        inputs.freshness,
        leaving=inputs.leaving,
        is_ours=inputs.is_ours,
        heartbeat_age_s=heartbeat.age_s,
        unheard=lambda: isolations.unheard_at >= (heartbeat.confirmed_at or 0.0),
        lease_s=settings.lease_s,
        ttl_s=settings.lifetime_s,
        releases=settings.on_api_loss == "release",
        handover_s=settings.drain_timeout_s,
        on_change=changed.set,
    )


def _unread(inputs: ClaimInputs, heartbeat: Publisher, clock: Clock) -> UnreadClaims:
    return UnreadClaims(inputs.unread, on_change=heartbeat.trigger, clock=clock)
