"""Interfaces and gateways: what the node is, next to what we put on it."""

import asyncio
import errno
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from socket import AF_INET, AF_INET6, NETLINK_ROUTE

from extip.errors import NetlinkError
from extip.net import iproute, nlmsg
from extip.net.interfaces import Gateways, IPAddress
from extip.net.links import LinkSocket
from extip.net.netlink import DUMP_ATTEMPTS, DUMP_RETRY_S
from extip.net.netlink_thread import answers, open_blocking

_LOOKUPS = 64
"""In one datagram: a millisecond at most."""

_AT_ONCE = 500
"""Routes that are read at once, in 2 ms, so that a pass with few of them waits for no thread."""

_IN_A_ROW, _PAUSE_S = 250, 0.0005
"""Routes that a thread decodes in a row, in a millisecond, and how long it sleeps after them."""

_Found = tuple[frozenset[IPAddress], bool]
"""The gateways of one message, and whether they are those of a default route."""
_NONE: frozenset[IPAddress] = frozenset()


class RouteTable(LinkSocket):
    """Reads the interfaces and gateways of its network namespace; enter it to open it."""

    async def gateways(self) -> Gateways:
        """Return the next hops of all routing tables, IPv4 and IPv6.

        Next hops of multipath routes and of the other family (``via inet6``) count. So do next hop
        objects, also while no route uses them. Raises `NetlinkError`.

        The rest of large tables is read in a thread. One whose caller is cancelled comes to its
        end by itself.
        """
        for attempt in range(DUMP_ATTEMPTS):
            try:
                routes = _read()
                found = list(islice(routes, _AT_ONCE))
                if len(found) == _AT_ONCE:
                    found += await asyncio.to_thread(_rest, routes)
                return Gateways(
                    frozenset().union(*(some for some, _ in found)),
                    frozenset().union(*(some for some, default in found if default)),
                )
            except NetlinkError as error:
                if error.errno != errno.EINTR:
                    raise
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO, "dump routes") from error
            await self._clock.sleep(DUMP_RETRY_S * attempt)
        raise NetlinkError(errno.EINTR, f"dump routes ({DUMP_ATTEMPTS} times)")

    async def stations(self, ips: Sequence[IPAddress]) -> Mapping[IPAddress, int]:
        """Return those of the IPs that a host route leads to, with the interface's index.

        Those that are behind one interface, without a gateway: see `iproute.station`. Raises
        `NetlinkError`. Yields to the loop every few dozen look-ups; a thousand take some 15 ms.
        """
        found: dict[IPAddress, int] = {}
        for begin in range(0, len(ips), _LOOKUPS):
            batch = ips[begin : begin + _LOOKUPS]
            first = self.reserve(len(batch))
            last = first + len(batch) - 1
            datagram = b"".join(
                iproute.lookup_request(n, ip, nlmsg.NLM_F_ACK if n == last else 0)
                for n, ip in enumerate(batch, first)
            )
            reply = await self.call(
                "look up routes", datagram, range(first, last + 1), iproute.station
            )
            found.update(reply.items)  # errors are answers, too: nothing leads there
            await self._clock.sleep(0)
        return found


def _rest(routes: Iterator[_Found]) -> list[_Found]:
    """Return what is left of them, in a thread; raises as they do.

    It sleeps now and then. Without that it has the interpreter again before the event loop's
    thread wakes up for it.
    """
    found: list[_Found] = []
    while some := list(islice(routes, _IN_A_ROW)):
        found += some
        time.sleep(_PAUSE_S)  # noqa: TID251 - it is not the loop that waits
    return found


def _read() -> Iterator[_Found]:
    """Yield the gateways of each route and next hop object. Raises NetlinkError and OSError.

    Routes repeat those of the objects only while ``net.ipv4.nexthop_compat_mode`` is on.
    """
    with open_blocking(NETLINK_ROUTE) as opened:
        request = iproute.nexthop_table_request(1)
        try:
            for message in answers(opened, "dump next hop objects", request, 1):
                yield iproute.nexthop_gateways(*message) or _NONE, False
        except NetlinkError as error:
            if error.errno != errno.EOPNOTSUPP:  # before Linux 5.3
                raise
        for sequence, family in enumerate((AF_INET, AF_INET6), start=2):
            request = iproute.table_request(sequence, family)
            for message in answers(opened, "dump routes", request, sequence):
                yield iproute.gateways(*message) or _NONE, iproute.is_default(*message)
