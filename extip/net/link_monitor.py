"""The kernel's notices about changes of the node's interfaces, addresses and routes.

Guarantee: after any change from outside the handler is called with the change. When the kernel had
to drop notices, it is called with `NoticeKind.OVERRUN`: then everything must be read again. Not
reported are additions and refreshes of our own addresses, a thousand at once and several times a
minute. Nor are routes without a gateway, such as those that follow the addresses.

`run` opens the socket before its first suspension, in the network namespace of that moment. It
calls the handler on the event loop, one notice at a time. The handler must be quick. When it
raises, `run` ends with its error.

The socket is not pyroute2's. That one is dead after the kernel has dropped a notice. It also takes
ten times the processor time for addresses, and other programs may add thousands.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from extip.errors import NetlinkError
from extip.metrics import Metrics
from extip.net import event_filter, ifaddr, iflink, iproute, nlmsg
from extip.net.interfaces import Link, ObservedAddress
from extip.net.netlink import DATAGRAM, open_netlink

_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR, _RTMGRP_IPV6_IFADDR = 0x10, 0x100
_RTMGRP_IPV4_ROUTE, _RTMGRP_IPV6_ROUTE = 0x40, 0x400
_RTMGRP_NEXTHOP = 1 << 31  # RTNLGRP_NEXTHOP; kernels before 5.3 ignore it
_GROUPS = (
    _RTMGRP_LINK
    | _RTMGRP_IPV4_IFADDR
    | _RTMGRP_IPV6_IFADDR
    | _RTMGRP_IPV4_ROUTE
    | _RTMGRP_IPV6_ROUTE
    | _RTMGRP_NEXTHOP
)

_RECEIVE_BUFFER = 4 * 2**20
_DATAGRAMS_PER_TURN = 24
"""Notices read before other tasks get their turn: half a millisecond, or 5 of interfaces alone."""

_GATEWAYS_OF = {
    nlmsg.RTM_NEWROUTE: iproute.gateways,
    nlmsg.RTM_DELROUTE: iproute.gateways,
    nlmsg.RTM_NEWNEXTHOP: iproute.nexthop_gateways,
    nlmsg.RTM_DELNEXTHOP: iproute.nexthop_gateways,
}


class NoticeKind(Enum):
    """The kind of a notice."""

    ADDRESS_REMOVED = "address_removed"
    """An address is gone, ours or not."""
    ADDRESS_CHANGED = "address_changed"
    """An address that is not ours came up or changed."""
    LINK_CHANGED = "link_changed"
    """An interface came, changed (up, down, carrier, MAC, name) or went."""
    ROUTE_CHANGED = "route_changed"
    """A route through a gateway, or a next hop object, came or went; gateways may differ."""
    OVERRUN = "overrun"
    """Notices were lost: everything must be read anew."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One change."""

    kind: NoticeKind
    address: ObservedAddress | None = None
    """The address, before its removal or after its change; None for other notices."""
    link: Link | None = None
    """The interface, before its removal or after its change; None for other notices."""
    removed: bool = False
    """The interface is gone."""


class LinkMonitor:
    """The component that listens to rtnetlink(7) groups.

    `own_port` is the port of the socket that our own changes go through (`AddressSocket.port`):
    what it adds need not be queued and read only to be left out.
    """

    def __init__(
        self,
        handler: Callable[[Notice], None],
        *,
        metrics: Metrics,
        own_port: int = 0,
        mark: ifaddr.Mark | None = None,
        receive_buffer: int = _RECEIVE_BUFFER,
    ) -> None:
        self._handler = handler
        self._metrics = metrics
        self._decoder = ifaddr.Decoder(mark or ifaddr.mark_for_kernel(os.uname().release))
        self._own_port = own_port
        self._receive_buffer = receive_buffer
        self._buffer = bytearray(DATAGRAM)
        self._overrun = False

    async def run(self) -> None:
        """Listen until cancelled. Raises `NetlinkError` when the socket fails."""
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[None] = loop.create_future()
        try:
            opened = open_netlink(self._receive_buffer, _GROUPS)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "listen to netlink") from error
        with contextlib.closing(opened):
            event_filter.attach(opened, self._own_port)
            loop.add_reader(opened, self._readable, opened, failed)
            try:
                await failed
            finally:
                loop.remove_reader(opened)

    def _readable(self, opened: socket.socket, failed: asyncio.Future[None]) -> None:
        try:
            for _ in range(_DATAGRAMS_PER_TURN):
                if not self._read(opened):
                    return
        except Exception as error:  # noqa: BLE001 - hands it to run(), whose caller it is meant for
            if not failed.done():
                failed.set_exception(error)

    def _read(self, opened: socket.socket) -> bool:
        """Handle one datagram; return whether there may be more."""
        try:
            size = opened.recv_into(self._buffer)
        except BlockingIOError:
            self._end_overrun()
            return False
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise NetlinkError(error.errno or errno.EIO, "listen to netlink") from error
            self._overrun = True
            return True
        if not self._overrun:
            received = memoryview(self._buffer)[:size]
            for kind, _, _, _, start, end in nlmsg.messages(received):
                self._dispatch(received, kind, start, end)
        return True

    def _end_overrun(self) -> None:
        """Report lost notices, once nothing older waits in the socket.

        After the first loss the kernel goes on dropping without saying so until the socket has
        been read empty (``NETLINK_S_CONGESTED``). So only what is read from then on is complete
        again, and only a dump begun from then on misses nothing. The socket itself stays sound.
        """
        if self._overrun:
            self._overrun = False
            self._metrics.netlink_overruns.inc()
            self._handler(Notice(NoticeKind.OVERRUN))

    def _dispatch(self, buffer: nlmsg.Buffer, kind: int, start: int, end: int) -> None:
        if kind in (nlmsg.RTM_NEWADDR, nlmsg.RTM_DELADDR):
            address = self._decoder.decode(buffer, start, end)
            if address is None:
                return
            if kind == nlmsg.RTM_DELADDR:
                self._handler(Notice(NoticeKind.ADDRESS_REMOVED, address=address))
            elif not address.ours:
                self._handler(Notice(NoticeKind.ADDRESS_CHANGED, address=address))
        elif kind in (nlmsg.RTM_NEWLINK, nlmsg.RTM_DELLINK):
            link = iflink.decode(buffer, start, end)
            if link is not None:
                gone = kind == nlmsg.RTM_DELLINK
                self._handler(Notice(NoticeKind.LINK_CHANGED, link=link, removed=gone))
        elif kind in _GATEWAYS_OF and _GATEWAYS_OF[kind](buffer, start, end):
            self._handler(Notice(NoticeKind.ROUTE_CHANGED))
