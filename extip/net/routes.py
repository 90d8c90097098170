"""Interfaces and routes: what the node is, next to what we put on it.

Interfaces come by raw netlink (`extip.net.links`), since every pass looks one up; routes by
pyroute2, since nothing waits for them and routes have many forms. This is the only module that
imports pyroute2, and it does so when the table is opened: the import takes 0.2 s and 13 MB.
"""

import errno
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from types import TracebackType
from typing import Any, Self

from extip.clock import Clock, LoopClock
from extip.errors import NetlinkError
from extip.net import nlmsg
from extip.net.links import LinkSocket
from extip.plan.link import IPAddress, Link

_RTN_UNICAST = 1
_DUMP_ATTEMPTS = 6
_DUMP_RETRY_S = 0.005

_RTM_GETNEXTHOP = 106
_NHA_GATEWAY = 6
_NHMSG = struct.Struct("=BBBBI")


class RouteTable:
    """Reads the interfaces and gateways of its network namespace; enter it to open it."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or LoopClock()
        self._links = LinkSocket(clock=self._clock)

    async def __aenter__(self) -> Self:
        """Open the socket. Raises `NetlinkError`."""
        import pyroute2  # noqa: F401, PLC0415 - now, so that no later call pays for it

        await self._links.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._links.__aexit__(kind, error, traceback)

    async def links(self) -> list[Link]:
        """Return all interfaces. Raises `NetlinkError`."""
        return await self._links.links()

    async def link(self, name: str) -> Link:
        """Return an interface. Raises `LinkNotFoundError` and `NetlinkError`."""
        return await self._links.link(name)

    async def promote_secondaries(self, link: Link) -> None:
        """Have the kernel keep IPv4 secondaries when their primary goes.

        Raises `PermissionDeniedError`, `LinkNotFoundError` and `NetlinkError`.
        """
        await self._links.promote_secondaries(link)

    async def gateways(self) -> frozenset[IPAddress]:
        """Return the next hops of all routing tables, IPv4 and IPv6.

        Next hops of multipath routes, next hops of the other family (``via inet6``) and next hop
        objects count, the latter also while no route uses them. Raises `NetlinkError`.
        """
        found = set(await self._nexthop_objects())
        for attempt in range(_DUMP_ATTEMPTS):
            interrupted = False
            for family in (AF_INET, AF_INET6):  # asked for both at once, kernels leave some out
                for route in await self._dump_routes(family):
                    interrupted |= route["header"]["flags"] & nlmsg.NLM_F_DUMP_INTR != 0
                    found.update(_next_hops(route))
            if not interrupted:
                return frozenset(found)
            await self._clock.sleep(_DUMP_RETRY_S * attempt)
        raise NetlinkError(errno.EINTR, f"dump routes ({_DUMP_ATTEMPTS} times)")

    async def _dump_routes(self, family: int) -> list[Any]:
        """Return the unicast routes; the kernel leaves the others out, one for each address."""
        from pyroute2 import AsyncIPRoute  # noqa: PLC0415 - see the module's docstring
        from pyroute2.netlink import exceptions, rtnl  # noqa: PLC0415
        from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415

        request = rtmsg()
        request["family"] = family
        request["type"] = _RTN_UNICAST
        try:
            # A socket of its own for each dump: two at the same time on one, or one after a
            # cancelled one, would wait for ever. It costs a third of a millisecond.
            async with AsyncIPRoute(strict_check=True) as opened:
                answers = await opened.nlm_request(
                    request,
                    msg_type=rtnl.RTM_GETROUTE,
                    msg_flags=nlmsg.NLM_F_REQUEST | nlmsg.NLM_F_DUMP,
                )
                return [route async for route in answers]
        except exceptions.NetlinkError as error:
            raise NetlinkError(error.code, "dump routes") from error
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "dump routes") from error

    async def _nexthop_objects(self) -> list[IPAddress]:
        """Return the gateways of next hop objects, which pyroute2 does not know.

        Routes repeat them only while ``net.ipv4.nexthop_compat_mode`` is on.
        """
        body = _NHMSG.pack(0, 0, 0, 0, 0)
        try:
            return await self._links.table(
                "dump next hop objects",
                lambda n: nlmsg.message(_RTM_GETNEXTHOP, nlmsg.NLM_F_DUMP, n, body),
                _decode_nexthop,
            )
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:  # before Linux 5.3
                return []
            raise


def _decode_nexthop(buffer: nlmsg.Buffer, start: int, end: int) -> IPAddress | None:
    body = start + nlmsg.HEADER.size + _NHMSG.size
    for kind, first, behind in nlmsg.attributes(buffer, body, end):
        if kind == _NHA_GATEWAY and behind - first in (4, 16):
            return ip_address(bytes(buffer[first:behind]))
    return None


def _next_hops(route: Any) -> Iterator[IPAddress]:  # noqa: ANN401 - pyroute2 is untyped
    for hop in (route, *(route.get_attr("RTA_MULTIPATH") or ())):
        via = hop.get_attr("RTA_VIA") or {}
        for text in (hop.get_attr("RTA_GATEWAY"), via.get("addr")):
            if text:
                yield ip_address(text)
