"""extip's own table of nf_tables in this network namespace; needs CAP_NET_ADMIN."""

import asyncio
import errno
import socket
from collections.abc import Collection

from extip.errors import NetlinkError
from extip.net import nftables
from extip.net.interfaces import IPAddress
from extip.net.netlink_thread import answers, open_blocking

_NETLINK_NETFILTER = 12  # linux/netlink.h
_SO_SNDBUFFORCE = 32
_ROOM = 2**16
"""Bytes of a send buffer beside the request."""


class PortTable:
    """Closes the ports of external IPs, for a while each time."""

    def __init__(self) -> None:
        self._made = False

    async def close_ports(self, ips: Collection[IPAddress], *, lifetime_s: float) -> None:
        """Have exactly these IPs closed for `lifetime_s`; ICMP passes. Raises LinkError.

        Another program may have deleted the table or its rules, as a firewall does that loads its
        own anew: then they are made again.
        """
        if self._made:
            failure = await _request(nftables.refresh_request(ips, lifetime_s=lifetime_s))
            if not failure:
                return
        failure = await _request(nftables.setup_request(ips, lifetime_s=lifetime_s))
        self._made = not failure
        if failure:
            raise NetlinkError(failure, "close ports of external IPs by nf_tables")

    async def remove(self) -> None:
        """Delete the table; without one there is nothing to do. Raises LinkError."""
        self._made = False
        failure = await _request(nftables.removal_request())
        if failure not in (0, errno.ENOENT):
            raise NetlinkError(failure, "delete the table of nf_tables")

    async def remove_leftover(self) -> bool:
        """Delete the table of an earlier process; return whether there was one.

        The process must be the only one of extip in this network namespace. Raises LinkError.
        """
        failure = await _request(nftables.leftover_request())
        if failure not in (0, errno.ENOENT):
            raise NetlinkError(failure, "delete the table of nf_tables")
        return not failure


async def _request(datagram: bytes) -> int:
    """Make a transaction; return its errno, 0 for none."""
    try:
        return await asyncio.to_thread(_exchange, datagram)
    except OSError as error:  # no thread can be started: the node is at its limit of processes
        return error.errno or errno.EIO


def _exchange(datagram: bytes) -> int:
    try:
        with open_blocking(_NETLINK_NETFILTER) as opened:
            opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, len(datagram) + _ROOM)
            list(answers(opened, "", datagram, nftables.SEQUENCE))
    except NetlinkError as error:
        return error.errno
    except OSError as error:
        return error.errno or errno.EIO
    return 0
