"""The other nodes on the segment, from IpNodes.

They are put in order again only when an address of a node differs. Most changes of an IpNode, such
as the number of its claims, cost one look at that IpNode, however many there are.

It owns no task: it follows an informer that somebody else runs.
"""

from collections.abc import Mapping, Sequence

from extip.api.ipcontroller_v1 import IpNode
from extip.cache.derived import Parts
from extip.cache.informer import Informer
from extip.net.interfaces import IPAddress, IPInterface
from extip.uplink.policy.isolation import neighbours, reported, ring


class Neighbourhood:
    """The stations that a node may ask, and those that it may watch; see `policy.isolation`."""

    def __init__(self, node: str, ip_nodes: Informer[IpNode]) -> None:
        self._node = node
        self._ip_nodes = ip_nodes
        self._own: Sequence[IPInterface] = ()
        self._neighbours: Mapping[IPAddress, IPAddress] | None = None
        self._ring: Mapping[IPAddress, str] = {}
        ip_nodes.add_handler(
            Parts(get=ip_nodes.store.get, extract=self._part, on_change=self._forget).update
        )

    def neighbours(self, own: Sequence[IPInterface]) -> Mapping[IPAddress, IPAddress] | None:
        """Return the stations to ask, each with the address of `own` to ask it from.

        The very same object until something differs. None while other nodes are not known.
        """
        self._find(own)
        return self._neighbours

    def ring(self, own: Sequence[IPInterface]) -> Mapping[IPAddress, str]:
        """Return the names of the other nodes by address, in order of the ring; also the same."""
        self._find(own)
        return self._ring

    def _find(self, own: Sequence[IPInterface]) -> None:
        if not self._ip_nodes.has_synced or (self._neighbours is not None and own == self._own):
            return
        self._own = own
        self._neighbours = neighbours(self._ip_nodes.store, self._node, own)
        self._ring = ring(self._ip_nodes.store, self._node, own)

    def _part(self, record: IpNode) -> object:
        gateways = record.status.gateways if record.metadata.name == self._node else None
        return reported(record), gateways

    def _forget(self) -> None:
        self._neighbours = None
