"""Finds new IPs that are stations behind another interface of this node, by the node's routes.

Many CNI plugins (Calico, Cilium, those of clouds) lead to each pod of the node by a host route. An
external IP with a pod's address would cut the node off from the pod. Routes come and go with pods,
so only the routes to IPs that are about to come up are read.

It owns no task: the observer calls it.
"""

from collections.abc import Container, Mapping, Sequence
from collections.abc import Set as AbstractSet

from extip.addresses.policy.changes import AddressPlan
from extip.addresses.ports import LinkTable
from extip.net.interfaces import IPAddress, IPInterface, Operation


class OtherLinks:
    """Remembers an IP for as long as a service wants it and a route says so."""

    def __init__(self, links: LinkTable) -> None:
        self._links = links
        self._ours: AbstractSet[IPAddress] = frozenset()
        """IPs that are up, or to be added again."""
        self._found: Mapping[IPInterface, str] = {}
        self.known: Mapping[IPAddress, str] = {}
        """The IPs found by the last look, each with the name of the interface that it is behind."""

    async def look_up(
        self,
        plan: AddressPlan,
        *,
        links: AbstractSet[int],
        wanted: Container[IPInterface],
        up: Container[IPAddress] = (),
    ) -> bool:
        """Look up the IPs to add; return whether `known` differs from before.

        `links` are the indexes of the interfaces that extip puts IPs on: no pod is behind these.
        An IP that is up is not looked up, nor one that was up after the last pass (`up`) and is to
        be added again. `wanted` are the wanted IPs. Only interfaces where neighbours resolve
        addresses count: on others (`lo`, dummy ones) people put host routes to export them. Raises
        NetlinkError.
        """
        adds = [c.interface for c in plan.changes if c.operation is Operation.ADD]
        ours = {i.ip for i in adds if i.ip in up or i.ip in self._ours} | plan.up
        asked = [interface for interface in adds if interface.ip not in ours]
        asked += [interface for interface in self._found if interface in wanted]
        found = await self.behind_others(asked, links) if asked else {}
        self._ours = ours
        if found == self._found:
            return False
        self._found = found
        self.known = {interface.ip: name for interface, name in found.items()}
        return True

    async def behind_others(
        self, asked: Sequence[IPInterface], links: AbstractSet[int]
    ) -> dict[IPInterface, str]:
        """Return those that are behind other interfaces than `links`, each with the name of that.

        Raises NetlinkError.
        """
        routes = await self._links.stations([interface.ip for interface in asked])
        if links >= set(routes.values()):
            return {}
        names = {one.index: one.name for one in await self._links.links() if one.announces}
        return {
            interface: names[index]
            for interface in asked
            if (index := routes.get(interface.ip)) in names and index not in links
        }
