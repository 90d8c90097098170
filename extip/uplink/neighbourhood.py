"""The other nodes on the segment, from IpNodes.

They are put in order again only when an address of a node differs. Most changes of an IpNode, such
as the number of its claims, cost one look at that IpNode, however many there are.

It owns no task: it follows an informer that somebody else runs.
"""

from collections.abc import Mapping, Sequence

from extip.api.ipcontroller_v1 import IpNode
from extip.api.node_links import selected_links
from extip.cache.derived import Parts
from extip.cache.informer import Informer
from extip.net.interfaces import IPAddress, IPInterface
from extip.uplink.policy.isolation import neighbours, ring

_MOST = 64
"""Interfaces of this node for which the answers are kept; more are never asked on."""


class Neighbourhood:
    """The stations that a node may ask, and those that it may watch; see `policy.isolation`."""

    def __init__(self, node: str, ip_nodes: Informer[IpNode]) -> None:
        self._node = node
        self._ip_nodes = ip_nodes
        self._neighbours: dict[tuple[IPInterface, ...], Mapping[IPAddress, IPAddress]] = {}
        """By the own addresses on an interface; so is the ring."""
        self._rings: dict[tuple[IPInterface, ...], Mapping[IPAddress, str]] = {}
        ip_nodes.add_handler(
            Parts(get=ip_nodes.store.get, extract=self._part, on_change=self._forget).update
        )

    def neighbours(self, own: Sequence[IPInterface]) -> Mapping[IPAddress, IPAddress] | None:
        """Return the stations to ask, each with the address of `own` to ask it from.

        The very same object until something differs. None while other nodes are not known.
        """
        key = tuple(own)
        if key not in self._neighbours and self._ip_nodes.has_synced:
            self._make_room()
            self._neighbours[key] = neighbours(self._ip_nodes.store, self._node, key)
        return self._neighbours.get(key)

    def ring(self, own: Sequence[IPInterface]) -> Mapping[IPAddress, str]:
        """Return the names of the other nodes by address, in order of the ring; also the same."""
        key = tuple(own)
        if key not in self._rings and self._ip_nodes.has_synced:
            self._make_room()
            self._rings[key] = ring(self._ip_nodes.store, self._node, key)
        return self._rings.get(key, {})

    def _part(self, record: IpNode) -> object:
        gateways = record.status.gateways if record.metadata.name == self._node else None
        return tuple(link.addresses for link in selected_links(record)), gateways

    def _make_room(self) -> None:
        if max(len(self._neighbours), len(self._rings)) >= _MOST:
            self._forget()

    def _forget(self) -> None:
        self._neighbours.clear()
        self._rings.clear()
