"""`extip simple`: one process brings every external IP up on its node.

::

    run
    ├── informer-services ────► requests ─┐
    ├── informer-nodes ───────► node IPs ─┼──► addresses ──► interface
    ├── informer-namespaces (selector) ───┘        ▲   └──► announcer
    ├── first-sync  nothing is changed before it ──┤
    ├── control-plane  what the cluster itself uses ─┤
    ├── monitor     netlink events ────────────────┤
    ├── prober      is a new IP free? ─────────────┘
    ├── informer-endpointslices   only while a service with external IPs wants local endpoints,
    │                             and with --without-endpoints withdraw
    ├── pools       gives addresses of pools, with --load-balancers (`extip.modes.simple_pools`)
    ├── conflicts   other stations with our IPs ◄── wire-watch
    ├── arrivals    IPs that have come up
    ├── events      these and refusals, as Kubernetes Events on the services
    └── http        /metrics /livez /readyz
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from extip import __version__, log
from extip.addresses.conflict.events import ConflictEvents
from extip.addresses.links_in_use import LinksInUse
from extip.addresses.observation import Inputs
from extip.addresses.release import release_in_time
from extip.addresses.up_events import UpEvents
from extip.clock import Clock, LoopClock
from extip.endpoints.unserved_report import LocalTraffic
from extip.endpoints.withdrawals import Withdrawals
from extip.fencing.lease_fencing import NoFencing
from extip.guard.refusals import RefusalLedger, warn_when_unrestricted
from extip.informers.simple import ServiceInputs
from extip.kube.client import ApiClient, connect
from extip.kube.events import EventRecorder
from extip.metrics import Metrics
from extip.modes.addresses import assemble_addresses
from extip.modes.network import Network
from extip.modes.process import Process
from extip.modes.simple_pools import SimplePools
from extip.net.host import open_host
from extip.settings.simple import SimpleSettings
from extip.supervisor import Component, StopSignals
from extip.trigger import Trigger


async def run(settings: SimpleSettings) -> None:
    """Run until SIGTERM or SIGINT; raises FatalError, alone or in a group."""
    stop = StopSignals()
    clock, metrics = LoopClock(), Metrics("simple")
    log.get_logger("simple").info(
        "started",
        version=__version__,
        link=settings.iface,
        ttl_s=settings.lifetime_s,
    )
    async with (
        stop.ending(
            connect(settings.kubeconfig, metrics=metrics, instance=settings.instance)
        ) as kube,
        open_host(clock=clock, metrics=metrics) as net,
    ):
        rng = Random()  # noqa: S311 - jitter
        process = assemble(settings, kube, net, clock=clock, rng=rng, metrics=metrics)
        await process.serving(settings, metrics.registry, kube).alone().run(stop.next)


def assemble(
    settings: SimpleSettings,
    kube: ApiClient,
    net: Network,
    *,
    clock: Clock,
    rng: Random,
    metrics: Metrics,
) -> Process:
    """Put the mode together, over any API server, network and clock."""
    warn_when_unrestricted(settings.permissions, log.get_logger("simple"))
    changed = Trigger()  # a pass over the interface may come to another result
    events = EventRecorder(kube, clock=clock, metrics=metrics)

    def look_again() -> None:
        changed.set()
        pools.trigger()

    inputs = service_inputs(settings, kube, look_again, clock=clock, rng=rng, metrics=metrics)
    pools = SimplePools(
        settings, kube, inputs, events, node=net.hostname, clock=clock, rng=rng, metrics=metrics
    )
    in_use = LinksInUse()
    arrivals = UpEvents(events, wanted=inputs.wanted, node=net.hostname, link=in_use.place)
    local = LocalTraffic(
        events,
        endpoints=inputs.local_endpoints,
        wanted=inputs.wanted,
        nodes=inputs.nodes,
        own=lambda: addresses.observer.own,
        hostname=net.hostname,
        clock=clock,
    )

    withdrawals = Withdrawals(
        events, unready=inputs.unready, up=lambda: addresses.observer.external
    )

    def served() -> Inputs | None:
        current = inputs.current()
        if current is None:
            return None
        return replace(current, requests=local.serve(withdrawals.serve(current.requests)))

    addresses = assemble_addresses(
        settings,
        net,
        in_use=in_use,
        inputs=served,
        changed=changed,
        fencing=NoFencing(settings.lifetime_s),
        listeners=[arrivals],
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
    addresses.reconciler.add_handler(RefusalLedger(events, metrics).record)
    addresses.reconciler.add_handler(local.on_admission)
    addresses.reconciler.add_handler(withdrawals.on_admission)
    addresses.conflicts.add_handler(ConflictEvents(events, owners=inputs.owners).on_conflicts)

    async def release() -> None:
        if settings.on_exit == "release":
            await release_in_time(addresses.reconciler)

    return Process(
        mode="simple",
        components=[
            *inputs.components(),
            *addresses.components,
            *([Component("pools", pools.run)] if settings.load_balancers else ()),
            Component("arrivals", arrivals.run),
            Component("events", events.run),
        ],
        live={"addresses": addresses.reconciler.stuck},
        ready={
            "caches": inputs.problem,
            "addresses": addresses.reconciler.problem,
            "ports": addresses.ports_problem,
        },
        cached=inputs.wait_synced,
        release=release,
    )


def service_inputs(
    settings: SimpleSettings,
    kube: ApiClient,
    on_change: Callable[[], None],
    *,
    clock: Clock,
    rng: Random,
    metrics: Metrics,
) -> ServiceInputs:
    """Put together what is learned from the API server; a dry run needs it, too."""
    return ServiceInputs(
        kube,
        masks=settings.masks,
        permissions=settings.permissions,
        service_selector=settings.service_selector,
        namespace_selector=settings.namespace_selector,
        balanced_class=settings.balanced_class,
        withdraws=settings.without_endpoints == "withdraw",
        on_change=on_change,
        clock=clock,
        rng=rng,
        metrics=metrics,
    )
