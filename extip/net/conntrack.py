"""The kernel's connection tracking of this network namespace: UDP flows that nobody translates.

The kernel walks through its whole table, of some hundred thousand places, in one system call. So a
look at it is made in a thread; it sends only what passes a filter. Whoever forges senders can fill
the table with flows to an IP, so one look takes no more than some of them.
"""

import asyncio
import socket
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from extip import log
from extip.errors import NetlinkError
from extip.net import ctnetlink
from extip.net.ctnetlink import Flow
from extip.net.interfaces import IPAddress
from extip.net.netlink_thread import answers, open_blocking

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_MOST = 10_000
"""Entries that are deleted at one look; a table may have a million."""
_NETLINK_NETFILTER = 12  # linux/netlink.h


class FlowTable:
    """Reads the table, and deletes from it; needs CAP_NET_ADMIN."""

    def __init__(self) -> None:
        self._log = log.get_logger("conntrack")
        self._said = ""

    async def drop_untranslated(self, ips: Collection[IPAddress]) -> int:
        """Delete the entries for UDP to these IPs that are not translated; return how many went.

        Where the kernel tracks nothing there is nothing to do. What goes wrong is tried again by
        the next call; it is told once.
        """
        if not ips or not self._tracks():
            return 0
        try:
            return await asyncio.to_thread(_drop, frozenset(ips))
        except (OSError, NetlinkError) as error:
            self._say("flows_not_read", str(error))
            return 0

    def _tracks(self) -> bool:
        try:
            return int(_COUNT.read_text()) > 0
        except (OSError, ValueError) as error:
            self._say("connections_not_tracked", str(error))
            return False

    def _say(self, event: str, error: str) -> None:
        if event != self._said:
            self._said = event
            self._log.debug(event, error=error)


def _drop(ips: frozenset[IPAddress]) -> int:
    """Do it, in a thread. Raises OSError and NetlinkError."""
    found = _find(ips)
    if not found:
        return 0
    with open_blocking(_NETLINK_NETFILTER) as opened:  # a fresh one: the rest of an answer is gone
        return sum(_deleted(opened, n, flow) for n, flow in enumerate(found, start=1))


def _find(ips: frozenset[IPAddress]) -> list[Flow]:
    found: list[Flow] = []
    with open_blocking(_NETLINK_NETFILTER) as opened:
        for sequence, version in enumerate(sorted({ip.version for ip in ips}), start=1):
            wanted = frozenset(ip.packed for ip in ips if ip.version == version)
            found += islice(_flows(opened, sequence, version, wanted), _MOST - len(found))
            if len(found) == _MOST:
                break
    return found


def _flows(
    opened: socket.socket, sequence: int, version: int, wanted: frozenset[bytes]
) -> Iterator[Flow]:
    """Yield the flows to the wanted addresses. Raises OSError and NetlinkError."""
    request = ctnetlink.untranslated_request(sequence, version)
    for received, start, end in answers(opened, "read connection tracking", request, sequence):
        if ctnetlink.sent_to(received, start, version) in wanted:
            flow = ctnetlink.untranslated(received, start, end)
            if flow is not None and flow.to.packed in wanted:
                yield flow


def _deleted(opened: socket.socket, sequence: int, flow: Flow) -> bool:
    """Return whether the kernel did it; ENOENT is an entry that has gone by itself."""
    request = ctnetlink.delete_request(sequence, flow)
    try:
        list(answers(opened, "delete a tracked flow", request, sequence))
    except NetlinkError:
        return False
    return True
