"""Wanted addresses x observed addresses → the changes to make on the interface."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from extip.addresses.policy.source_order import OwnSubnets, misplaced
from extip.net.interfaces import (
    Change,
    IPAddress,
    IPInterface,
    ObservedAddress,
    Operation,
    prefix_length,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """Changes in the order to make them, and the addresses that are up already."""

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

    - `wanted` None: not known yet. Our addresses stay and are refreshed; nothing else happens.
    - `refresh`: the lifetimes of the addresses that stay start anew.
    - `extend` False: no address is added or refreshed; present ones are left to their lifetime.
    - `yielded`: these IPs are deleted, even if they are wanted.

    Only addresses with our mark are refreshed or deleted, on any interface. A marked one on another
    interface is left from a run with that interface.

    The order of changes: deletes come first, so that an IP whose prefix length changes can be added
    again. (IPv6 identifies an address without its prefix length.) Then come adds, since they serve
    traffic. Then come moves, which put the node's own addresses first (see `source_order`).
    Refreshes come last. In a subnet the secondary addresses are deleted first, since the kernel
    touches all of them when it loses the primary one.

    The same input gives the same plan, in whatever order the input is. Only moves depend on the
    order of `observed`, which is the kernel's.
    """
    ours = sorted((a for a in observed if a.ours), key=_position)
    if wanted is None:
        target = {a.interface for a in ours if a.link_index == link_index}
        ours = [a for a in ours if a.link_index == link_index]
    else:
        target = set(wanted)
    if yielded:
        target = {interface for interface in target if interface.ip not in yielded}
    keep: list[ObservedAddress] = []
    others: list[ObservedAddress] = []
    for address in ours:
        wanted_here = address.link_index == link_index and address.interface in target
        (keep if wanted_here else others).append(address)
    kept = {a.interface for a in keep}
    changes = removals(others)
    if extend:
        here = [a for a in observed if a.link_index == link_index]
        subnets = OwnSubnets(here)
        missing = sorted(target - kept, key=_order)
        changes += _each(Operation.ADD, link_index, missing, subnets)
        changes += _moves(here, kept, subnets)
        if refresh:
            changes += _each(Operation.REFRESH, link_index, [a.interface for a in keep], subnets)
    return AddressPlan(changes=tuple(changes), up=_ips(keep))


def removals(addresses: Iterable[ObservedAddress]) -> list[Change]:
    """Return the deletes of those addresses, in the order that costs the kernel least."""
    in_order = sorted(addresses, key=_primary_last)
    return [Change(Operation.DELETE, a.link_index, a.interface) for a in in_order]


def _each(
    operation: Operation, link_index: int, interfaces: Iterable[IPInterface], subnets: OwnSubnets
) -> list[Change]:
    """Return the same change of each address."""
    return [
        Change(operation, link_index, interface, routed=subnets.routed(interface))
        for interface in interfaces
    ]


def _moves(
    here: Sequence[ObservedAddress],
    kept: Collection[IPInterface],
    subnets: OwnSubnets,
) -> list[Change]:
    """Return the moves of kept addresses that stand before the node's own.

    A subnet's primary address is moved last. The kernel then makes the next address primary, which
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
    return interface.version, int(interface), prefix_length(interface)


def _position(address: ObservedAddress) -> tuple[int, int, int, int]:
    return *_order(address.interface), address.link_index
