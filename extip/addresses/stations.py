"""Tells nodes of this cluster from other stations of the segment, by their MACs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from extip.addresses.ports import LinkTable
from extip.net.interfaces import IPAddress
from extip.net.neighbour_events import NeighbourEvent


@dataclass(frozen=True, slots=True)
class ClusterMacs:
    """The MACs of the nodes of this cluster."""

    links: LinkTable
    known: Callable[[], frozenset[bytes]] | None
    """Returns the known MACs of all nodes with a controller; None: none are known."""

    async def find(self) -> frozenset[bytes]:
        """Return the MACs, with those of this node. Raises LinkError."""
        own = frozenset(link.mac for link in await self.links.links())
        return own if self.known is None else own | self.known()


@dataclass(frozen=True, slots=True)
class Rivals:
    """The stations outside this cluster that may have an IP which has just come up."""

    cluster_macs: Callable[[], frozenset[bytes]]
    """Returns the MACs of the nodes of this cluster."""
    cease: Callable[[Mapping[IPAddress, NeighbourEvent]], None]
    """Has IPs removed that other stations have, for as long as these have them."""
