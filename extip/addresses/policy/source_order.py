"""Keeps external IPs from being the source of what the node itself sends. Pure, IPv4 only.

How the kernel chooses a source: it takes the first address on the interface that shares the subnet
of the gateway. Where there is none, it takes the first of all (``inet_select_addr``). A subnet's
route names the primary address of the subnet, which is the one that came first
(``fib_add_ifaddr``).

So the node's own addresses must come before external IPs. They no longer do after one of them was
removed and has come back, as by DHCP. Also, no external IP may bring a route that is narrower or
wider than the route of the node's own address in the same place: the kernel would send by it.

Where the node has no address of its own in a subnet, the external IP brings the only route. What
the node sends to that subnet then has the external IP as its source. IPv6 needs none of this:
external IPs are deprecated there, and are chosen only when there is no other address.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Interface, IPv4Network

from extip.net.interfaces import IPInterface, ObservedAddress


class OwnSubnets:
    """The subnets of the node's own IPv4 addresses on an interface."""

    def __init__(self, here: Iterable[ObservedAddress]) -> None:
        """Read the subnets off `here`, the addresses of the interface."""
        self._networks = frozenset(
            a.interface.network
            for a in here
            if not a.ours and isinstance(a.interface, IPv4Interface) and a.peer is None
            if _is_own(a) and not _is_host(a.interface)
        )
        self._known: dict[IPv4Network, bool] = {}

    def misrouted(self, here: Iterable[ObservedAddress]) -> list[ObservedAddress]:
        """Return our addresses that bring a route and should not, or the reverse.

        Where a primary address is wrong, the addresses that would take its place are returned, too.
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
        """Return whether an external IP is to bring the route to its subnet.

        In a subnet of the node's own, the external IP is secondary and its route does not matter at
        first. It keeps the subnet in reach while the node's own address is away.
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
    """Return our addresses that come before one of the node's own and stand in its way.

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
        """Record one more; call it from the last address to the first."""
        if isinstance(own.interface, IPv4Interface) and _is_own(own):
            self._networks.add(own.interface.network)
            if not own.secondary and not _is_host(own.interface):
                self._primary.add(own.interface.network)

    def suffers_from(self, ours: ObservedAddress) -> bool:
        """Return whether one of our addresses before them is a disadvantage for them, now or later.

        An own address in the same subnet is secondary to ours, or will be once its primary one
        goes. One in a subnet that overlaps ours is passed over for the gateways there.
        """
        network = ours.interface.network
        if network.prefixlen == network.max_prefixlen or not isinstance(network, IPv4Network):
            return False
        if network in self._networks:
            return True
        return not ours.secondary and any(network.overlaps(one) for one in self._primary)


def _is_own(address: ObservedAddress) -> bool:
    """Return whether it is the node's, and may be the source of what leaves the link."""
    if address.ours:
        return False
    ip = address.interface.ip
    return not (ip.is_link_local or ip.is_loopback)


def _is_host(interface: IPInterface) -> bool:
    return interface.network.prefixlen == interface.max_prefixlen
