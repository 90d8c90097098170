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
from extip.net import ctnetlink, nlmsg
from extip.net.ctnetlink import Flow
from extip.plan.link import IPAddress

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_BOUND_S = 1.0
"""For one answer of the kernel, which is there at once; a stop waits for the thread."""
_MOST = 10_000
"""Entries that are deleted at one look; a table may have a million."""
_DATAGRAM = 64 * 2**10
_BUFFER = 2**20
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
        except OSError as error:
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
    """Do it, in a thread. Raises OSError."""
    found = _find(ips)
    if not found:
        return 0
    with _opened() as opened:  # what was not read of an answer is gone with its socket
        count = 0
        for sequence, flow in enumerate(found, start=1):
            opened.send(ctnetlink.delete_request(sequence, flow))
            count += not _failed(opened, sequence)
        return count


def _find(ips: frozenset[IPAddress]) -> list[Flow]:
    found: list[Flow] = []
    with _opened() as opened:
        for sequence, version in enumerate(sorted({ip.version for ip in ips}), start=1):
            opened.send(ctnetlink.untranslated_request(sequence, version))
            wanted = frozenset(ip.packed for ip in ips if ip.version == version)
            found += islice(_answers(opened, sequence, version, wanted), _MOST - len(found))
            if len(found) == _MOST:
                break
    return found


def _opened() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    opened.settimeout(_BOUND_S)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    opened.bind((0, 0))
    return opened


def _answers(
    opened: socket.socket, sequence: int, version: int, wanted: frozenset[bytes]
) -> Iterator[Flow]:
    """Yield the flows to the wanted addresses. Raises OSError."""
    buffer = bytearray(_DATAGRAM)
    while True:
        received = memoryview(buffer)[: opened.recv_into(buffer)]
        for kind, _, of, _, start, end in nlmsg.messages(received):
            if of != sequence:
                continue
            if kind in (nlmsg.NLMSG_DONE, nlmsg.NLMSG_ERROR):
                if code := nlmsg.error_of(received, start, end):
                    raise OSError(code, "read connection tracking")
                return
            if ctnetlink.sent_to(received, start, version) in wanted:
                flow = ctnetlink.untranslated(received, start, end)
                if flow is not None and flow.to.packed in wanted:
                    yield flow


def _failed(opened: socket.socket, sequence: int) -> bool:
    """Return whether the kernel refused; ENOENT is an entry that has gone by itself."""
    while True:
        received = opened.recv(_DATAGRAM)
        for kind, _, of, _, start, end in nlmsg.messages(received):
            if of == sequence and kind == nlmsg.NLMSG_ERROR:
                return nlmsg.error_of(received, start, end) != 0
