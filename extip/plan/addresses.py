"""Wanted addresses x observed addresses → what to change on the interface."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from extip.plan.link import Change, IPAddress, IPInterface, ObservedAddress, Operation
from extip.plan.source_order import OwnSubnets, misplaced


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """Changes in the order to make them, and what is up already."""

    changes: tuple[Change, ...]
    up: frozenset[IPAddress]
    """Wanted addresses that are on the link now."""


def plan_addresses(
    *,
    wanted: Iterable[IPInterface] | None,
    observed: Sequence[ObservedAddress],
    link_index: int,
    refresh: bool,
    extend: bool = True,
    yielded: Collection[IPAddress] = (),
) -> AddressPlan:
    """Plan one pass over the link.

    `wanted` None means not known yet: what is ours stays (and is refreshed), nothing else happens.
    Only addresses with our mark are refreshed or deleted, on any interface: marked ones elsewhere
    are left from a run with another interface. `refresh` starts the lifetimes of those that stay
    anew. Without `extend` none is added or refreshed, and what is up is left to its lifetime. The
    IPs in `yielded` go, whatever is wanted. Deletes come first, so that an IP whose prefix length
    changes can be added again (IPv6 keys addresses without it); then adds, since they serve
    traffic; then moves, for the node's own addresses to come first (see `source_order`); then
    refreshes. Of a subnet the secondary addresses are deleted first, since the kernel works on all
    of them when it loses the primary one. The plan is the same for the same input, whatever its
    order, but for the moves: these depend on that of the kernel.
    """
    ours = sorted((a for a in observed if a.ours), key=_position)
    if wanted is None:
        target = {a.interface for a in ours if a.link_index == link_index}
        ours = [a for a in ours if a.link_index == link_index]
    else:
        target = set(wanted)
    if yielded:
        target = {interface for interface in target if interface.ip not in yielded}
    keep = [a for a in ours if a.link_index == link_index and a.interface in target]
    kept = {a.interface for a in keep}
    changes = removals(a for a in ours if a.link_index != link_index or a.interface not in target)
    if extend:
        here = [a for a in observed if a.link_index == link_index]
        subnets = OwnSubnets(here)
        routed = subnets.routed
        changes += [
            Change(Operation.ADD, link_index, interface, routed=routed(interface))
            for interface in sorted(target - kept, key=_order)
        ]
        changes += _moves(here, kept, subnets)
        changes += [
            Change(Operation.REFRESH, link_index, a.interface, routed=routed(a.interface))
            for a in (keep if refresh else ())
        ]
    return AddressPlan(changes=tuple(changes), up=_ips(keep))


def removals(addresses: Iterable[ObservedAddress]) -> list[Change]:
    """Return what deletes those addresses, in the order that costs the kernel least."""
    in_order = sorted(addresses, key=_primary_last)
    return [Change(Operation.DELETE, a.link_index, a.interface) for a in in_order]


def _moves(
    here: Sequence[ObservedAddress],
    kept: Collection[IPInterface],
    subnets: OwnSubnets,
) -> list[Change]:
    """Return what moves the kept addresses that stand in the way of the node's own.

    A subnet's primary address goes last, since the kernel puts the next one in its place, and that
    must be the node's own by then.
    """
    moved = misplaced(here).union(a.interface for a in subnets.misrouted(here))
    if not moved:
        return []
    in_order = sorted((a for a in here if a.ours and a.interface in moved), key=_primary_last)
    return [
        Change(Operation.MOVE, a.link_index, a.interface, routed=subnets.routed(a.interface))
        for a in in_order
        if a.interface in kept
    ]


def _ips(addresses: Sequence[ObservedAddress]) -> frozenset[IPAddress]:
    return frozenset(a.interface.ip for a in addresses)


def _primary_last(address: ObservedAddress) -> bool:
    return not address.secondary


def _order(interface: IPInterface) -> tuple[int, int, int]:
    return interface.version, int(interface), interface.network.prefixlen


def _position(address: ObservedAddress) -> tuple[int, int, int, int]:
    return *_order(address.interface), address.link_index
