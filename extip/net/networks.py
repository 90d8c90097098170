"""A set of many networks, and whether it contains an address. Pure.

A cluster has a pod network per node: looking through a thousand of them for each of ten thousand
addresses would take seconds. They have few different prefix lengths, and one look in a set for each
of these is enough.
"""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network

from extip.net.interfaces import IPAddress

IPNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Networks:
    """Networks of both families; equal when the same ones are in it."""

    members: frozenset[IPNetwork] = frozenset()

    def find(self, ip: IPAddress) -> IPNetwork | None:
        """Return the smallest network that has `ip`, or None."""
        if not self.members:
            return None
        number = int(ip)
        for mask, by_base in self._index[ip.version]:
            found = by_base.get(number & mask)
            if found is not None:
                return found
        return None

    def __contains__(self, ip: IPAddress) -> bool:
        return self.find(ip) is not None

    def __bool__(self) -> bool:
        return bool(self.members)

    def __or__(self, other: "Networks") -> "Networks":
        return Networks(self.members | other.members)

    @cached_property
    def _index(self) -> dict[int, list[tuple[int, dict[int, IPNetwork]]]]:
        """By IP version: each netmask, longest first, with its networks by first address."""
        found: dict[int, dict[int, dict[int, IPNetwork]]] = {4: {}, 6: {}}
        for network in self.members:
            by_mask = found[network.version].setdefault(int(network.netmask), {})
            by_mask[int(network.network_address)] = network
        return {
            version: sorted(by_mask.items(), key=_mask, reverse=True)
            for version, by_mask in found.items()
        }


def _mask(entry: tuple[int, dict[int, IPNetwork]]) -> int:
    return entry[0]
