"""Interfaces and routes: what the node is, next to what we put on it.

Interfaces come by raw netlink (`extip.net.links`), since every pass looks one up; routes by
pyroute2, since nothing waits for them and routes have many forms. This is the only module that
imports pyroute2, and it does so when the table is opened: the import takes 0.2 s and 13 MB.
"""

import contextlib
import errno
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from extip.clock import Clock, LoopClock
from extip.errors import NetlinkError
from extip.net import nlmsg
from extip.net.links import LinkSocket
from extip.plan.link import IPAddress, Link

if TYPE_CHECKING:
    from pyroute2 import AsyncIPRoute

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
        self._routes: AsyncIPRoute | None = None
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the sockets. Raises `NetlinkError`."""
        from pyroute2 import AsyncIPRoute  # noqa: PLC0415 - see the module's docstring

        await self._stack.enter_async_context(self._links)
        try:
            self._routes = await self._stack.enter_async_context(AsyncIPRoute(strict_check=True))
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._routes = None
        await self._stack.aclose()

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
            for route in await self._dump_routes():
                interrupted |= route["header"]["flags"] & nlmsg.NLM_F_DUMP_INTR != 0
                found.update(_next_hops(route))
            if not interrupted:
                return frozenset(found)
            await self._clock.sleep(_DUMP_RETRY_S * attempt)
        raise NetlinkError(errno.EINTR, f"dump routes ({_DUMP_ATTEMPTS} times)")

    async def _dump_routes(self) -> list[Any]:
        """Return the unicast routes; the kernel leaves the others out, one for each address."""
        from pyroute2.netlink import exceptions, rtnl  # noqa: PLC0415
        from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415

        if self._routes is None:
            raise NetlinkError(errno.EBADF, "route table is not open")
        request = rtmsg()
        request["type"] = _RTN_UNICAST
        try:
            return [
                route
                async for route in await self._routes.nlm_request(
                    request,
                    msg_type=rtnl.RTM_GETROUTE,
                    msg_flags=nlmsg.NLM_F_REQUEST | nlmsg.NLM_F_DUMP,
                )
            ]
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
