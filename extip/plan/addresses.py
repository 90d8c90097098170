"""Wanted addresses x observed addresses → what to change on the interface."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from extip.plan.link import Change, IPAddress, IPInterface, ObservedAddress, Operation


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
    traffic; then refreshes. The plan is the same for the same input, whatever its order.
    """
    ours = sorted((a for a in observed if a.ours), key=_position)
    refresh = refresh and extend
    if wanted is None:
        target = {a.interface for a in ours if a.link_index == link_index}
        ours = [a for a in ours if a.link_index == link_index]
    else:
        target = set(wanted)
    if yielded:
        target = {interface for interface in target if interface.ip not in yielded}
    keep = [a for a in ours if a.link_index == link_index and a.interface in target]
    kept = {a.interface for a in keep}
    deletes = tuple(
        Change(Operation.DELETE, a.link_index, a.interface)
        for a in ours
        if a.link_index != link_index or a.interface not in target
    )
    adds = tuple(
        Change(Operation.ADD, link_index, interface)
        for interface in sorted(target - kept if extend else (), key=_order)
    )
    return AddressPlan(
        changes=deletes + adds + (_refreshes(keep) if refresh else ()), up=_ips(keep)
    )


def _refreshes(addresses: Sequence[ObservedAddress]) -> tuple[Change, ...]:
    return tuple(Change(Operation.REFRESH, a.link_index, a.interface) for a in addresses)


def _ips(addresses: Sequence[ObservedAddress]) -> frozenset[IPAddress]:
    return frozenset(a.interface.ip for a in addresses)


def _order(interface: IPInterface) -> tuple[int, int, int]:
    return interface.version, int(interface), interface.network.prefixlen


def _position(address: ObservedAddress) -> tuple[int, int, int, int]:
    return *_order(address.interface), address.link_index
