"""Interfaces and gateways: what the node is, next to what we put on it."""

import errno
from functools import partial
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

from extip.errors import NetlinkError
from extip.net import iproute
from extip.net.links import LinkSocket
from extip.plan.link import IPAddress


class RouteTable(LinkSocket):
    """Reads the interfaces and gateways of its network namespace; enter it to open it."""

    async def gateways(self) -> frozenset[IPAddress]:
        """Return the next hops of all routing tables, IPv4 and IPv6.

        Next hops of multipath routes, next hops of the other family (``via inet6``) and next hop
        objects count, the latter also while no route uses them. Raises `NetlinkError`. Yields to
        the loop every few hundred routes.
        """
        found = await self._nexthop_objects()
        for family in (AF_INET, AF_INET6):
            found += await self._dump_routes(family)
        return frozenset(map(ip_address, frozenset().union(*found)))

    async def _dump_routes(self, family: int) -> list[frozenset[bytes]]:
        """Return the gateways of each route that has some."""
        return await self.table(
            "dump routes", partial(iproute.table_request, family=family), iproute.gateways
        )

    async def _nexthop_objects(self) -> list[frozenset[bytes]]:
        """Return the gateways of next hop objects.

        Routes repeat them only while ``net.ipv4.nexthop_compat_mode`` is on.
        """
        try:
            return await self.table(
                "dump next hop objects", iproute.nexthop_table_request, iproute.nexthop_gateways
            )
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:  # before Linux 5.3
                return []
            raise
