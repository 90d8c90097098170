"""The parts that bring addresses up, in every mode with an interface.

::

    monitor (netlink events) ──► addresses (reconciler) ──► interface
                                   ▲  ├──► flows ──► connection tracking
                                   │  └──► ports ──► packet filter (--close-other-ports)
                                   │
                                   └──► links, for each interface:
                                          announcer ──► neighbours
                                          conflicts ◄── wire-watch ◄── other stations
                                          prober ◄──► other stations
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from extip.addresses.announce.announcer import Announcer
from extip.addresses.conflict.reports import ConflictReports
from extip.addresses.conflict.watch import ConflictWatch
from extip.addresses.links_in_use import LinkParts, LinksInUse
from extip.addresses.local_addresses import AddressListener, LocalAddresses
from extip.addresses.observation import AddressObserver, AddressOptions, Inputs
from extip.addresses.port_closer import PortCloser, open_ports
from extip.addresses.ports import Fencing
from extip.addresses.probe.prober import Prober
from extip.addresses.reconciler import AddressReconciler
from extip.addresses.stations import ClusterMacs, Rivals
from extip.addresses.udp_flows import FlowSweeper
from extip.clock import Clock
from extip.guard.policy.rules import Guard
from extip.metrics import Metrics
from extip.modes.network import Network
from extip.net.interfaces import IPAddress
from extip.settings.address import AddressSettings
from extip.supervisor import Component
from extip.trigger import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressParts:
    """The parts that bring addresses up."""

    observer: AddressObserver
    reconciler: AddressReconciler
    conflicts: ConflictReports
    ports_problem: Callable[[], str]
    """Returns why the IPs' other ports are open against the operator's wish; else nothing."""
    components: tuple[Component, ...]


def assemble_addresses(  # noqa: PLR0913 - a composition of parts
    settings: AddressSettings,
    net: Network,
    *,
    in_use: LinksInUse,
    inputs: Callable[[], Inputs | None],
    changed: Trigger,
    fencing: Fencing,
    cluster_macs: Callable[[], frozenset[bytes]] | None = None,
    opponents: Callable[[], Mapping[IPAddress, frozenset[bytes]]] = dict,
    listeners: Sequence[AddressListener] = (),
    clock: Clock,
    rng: Random,
    metrics: Metrics,
) -> AddressParts:
    """Put the parts together.

    `in_use` gets the parts of each interface. `changed` asks for a pass over the interfaces:
    whoever sees a reason sets it. `fencing` keeps other nodes from having the IPs as well.
    `cluster_macs` returns the MACs of the nodes of this cluster, which may have had a new IP
    (default: nobody knows them, and an IP that is up is left to no other station). `opponents`
    returns IPs whose former holder may still have them, each with the MACs of that node.
    `listeners` are told what is up on any interface.
    """
    options = address_options(settings)
    observer = AddressObserver(options, inputs=inputs, links=net.links, table=net.addresses)
    flows = FlowSweeper(net.drop_untranslated, up=lambda: in_use.up, clock=clock)
    closer = PortCloser(
        net.ports,
        up=lambda: in_use.up,
        ttl_s=settings.lifetime_s,
        refresh_s=settings.refresh_s,
        clock=clock,
    )
    closing = settings.close_other_ports
    last = (flows, closer) if closing else (flows,)
    conflicts = ConflictReports()

    def parts_of(name: str) -> LinkParts:
        """Put the parts of one interface together."""
        prober = Prober(
            net.probe_wire(),
            window_s=settings.probe_s,
            ttl_s=settings.lifetime_s,
            cluster_macs=ClusterMacs(net.links, cluster_macs).find,
            opponents=opponents,
            on_change=changed.set,
            clock=clock,
            rng=rng,
            metrics=metrics,
        )
        rivals = Rivals(cluster_macs, prober.cease) if cluster_macs and settings.probe_s else None
        announcer = Announcer(clock=clock, metrics=metrics, open_socket=net.open_sender)
        watch = ConflictWatch(
            fencing,
            repeat=announcer.repeat,
            links=net.links,
            clock=clock,
            rng=rng,
            metrics=metrics,
            rivals=rivals,
        )
        watch.add_handler(conflicts.of(name))
        wire = net.conflict_wire(watch.on_neighbour_event)
        watch.listen_on(wire)
        local = LocalAddresses(name, metrics=metrics)
        for listener in (*listeners, announcer, watch, *last):
            local.add_listener(listener)
        return LinkParts(
            local=local,
            prober=prober,
            components=(
                Component("announcer", announcer.run),
                Component("wire-watch", wire.run),
                Component("conflicts", watch.run),
                Component("conflict-checks", watch.verify_conflicts),
                Component("prober", prober.run),
            ),
        )

    in_use.make_with(parts_of, only=options.links.only)
    reconciler = AddressReconciler(
        options,
        observer=observer,
        links=net.links,
        table=net.addresses,
        in_use=in_use,
        fencing=fencing,
        triggered=changed,
        clock=clock,
        metrics=metrics,
    )
    if closing:
        reconciler.on_released = closer.remove
    return AddressParts(
        observer=observer,
        reconciler=reconciler,
        conflicts=conflicts,
        ports_problem=closer.problem,
        components=(
            Component("monitor", partial(net.monitor, reconciler.on_notice)),
            Component("links", in_use.run),
            Component("flows", flows.run),
            Component("addresses", reconciler.run),
            Component("ports", closer.run if closing else partial(open_ports, net.ports)),
        ),
    )


def address_options(settings: AddressSettings) -> AddressOptions:
    """Translate what the operator chose into what the reconciler needs."""
    return AddressOptions(
        links=settings.links,
        guard=Guard(allowed=settings.permissions.networks()),
        ttl_s=settings.lifetime_s,
        refresh_s=settings.refresh_s,
        resync_s=settings.resync_s,
    )
