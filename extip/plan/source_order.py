"""Keeps external IPs from being chosen as the source of what the node itself sends. Pure, IPv4.

For a destination behind a gateway, or without one, the kernel takes the first address on the
interface that shares the gateway's subnet, else the first of all (``inet_select_addr``); and a
subnet's route names the subnet's primary address, the one that came first (``fib_add_ifaddr``).
So the node's own addresses must come before external IPs. They do not any more once one of them
was removed and has come back. And no external IP may bring a route along that is narrower or wider
than that of the node's own address in the same place: the kernel would send by it.

Where the node has no address of its own in a subnet, the external IP's route is the only one, and
what the node sends to that subnet has the external IP as its source. IPv6 needs none of this:
external IPs are deprecated there, and so are chosen only while there is nothing else.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv4Network

from extip.plan.link import IPInterface, ObservedAddress


class OwnSubnets:
    """The subnets of the node's own IPv4 addresses on an interface."""

    def __init__(self, here: Iterable[ObservedAddress]) -> None:
        """Look at `here`, the addresses of the interface."""
        self._networks = frozenset(
            a.interface.network
            for a in here
            if not a.ours and isinstance(a.interface, IPv4Interface) and a.peer is None
            if _is_own(a) and not _is_host(a.interface)
        )
        self._known: dict[IPv4Network, bool] = {}

    def misrouted(self, here: Iterable[ObservedAddress]) -> list[ObservedAddress]:
        """Return those of our addresses that bring a route along and should not, or the reverse.

        With a primary address also those that would take its place.
        """
        if not self._networks and all(a.routed for a in here):
            return []
        ours = [a for a in here if a.ours and not _is_host(a.interface)]
        wrong = {
            a.interface.network
            for a in ours
            if not a.secondary and a.routed != self.routed(a.interface)
        }
        if not wrong:
            return []
        return [
            a for a in ours if a.interface.network in wrong and a.routed != self.routed(a.interface)
        ]

    def routed(self, interface: IPInterface) -> bool:
        """Return whether an external IP is to bring the route to its subnet along.

        In a subnet of the node's own it does not matter, since a secondary address brings none; it
        is then the one that keeps the subnet in reach while the node's own address is away.
        """
        if not self._networks or not isinstance(interface, IPv4Interface) or _is_host(interface):
            return True
        network = interface.network
        known = self._known.get(network)
        if known is None:
            known = self._known[network] = network in self._networks or not any(
                network.overlaps(own) for own in self._networks
            )
        return known


def misplaced(here: Sequence[ObservedAddress]) -> frozenset[IPInterface]:
    """Return those of our addresses that come before one of the node's own and stand in its way.

    `here` are the addresses of an interface in the kernel's order: all primary ones first.
    """
    own = [
        n
        for n, a in enumerate(here)
        if not a.ours and isinstance(a.interface, IPv4Interface) and _is_own(a)
    ]
    if not own:
        return frozenset()
    found: list[IPInterface] = []
    behind = _Behind()
    for n in range(own[-1], -1, -1):
        if not here[n].ours:
            behind.add(here[n])
        elif here[n].interface.version == 4 and (  # noqa: PLR2004
            n < own[0] or behind.suffers_from(here[n])
        ):
            found.append(here[n].interface)
    return frozenset(found)


class _Behind:
    """The node's own addresses behind a place in the kernel's list."""

    def __init__(self) -> None:
        self._networks: set[IPv4Network] = set()
        self._primary: set[IPv4Network] = set()

    def add(self, own: ObservedAddress) -> None:
        """Take note of one more; they come from the last to the first."""
        if isinstance(own.interface, IPv4Interface) and _is_own(own):
            self._networks.add(own.interface.network)
            if not own.secondary and not _is_host(own.interface):
                self._primary.add(own.interface.network)

    def suffers_from(self, ours: ObservedAddress) -> bool:
        """Return whether any of them is worse off, now or later, for one of ours before it.

        One in the same subnet is secondary to ours, or would be once the primary one goes. One in
        a subnet that has part of ours is passed over for the gateways there.
        """
        network = ours.interface.network
        if network.prefixlen == network.max_prefixlen or not isinstance(network, IPv4Network):
            return False
        if network in self._networks:
            return True
        return not ours.secondary and any(network.overlaps(one) for one in self._primary)


def _is_own(address: ObservedAddress) -> bool:
    """Whether it is the node's, and may be the source of what leaves the link."""
    if address.ours:
        return False
    ip = address.interface.ip
    return not (ip.is_link_local or ip.is_loopback)


def _is_host(interface: IPInterface) -> bool:
    return interface.network.prefixlen == interface.max_prefixlen
