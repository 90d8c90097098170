"""Large tables of the kernel, read in a thread of their own and not in the event loop's.

A thread that decodes keeps the interpreter from the loop. It gives it up at each datagram, so that
other tasks wait no longer than for what is in one: some 300 routes, or a millisecond and a half.

The socket belongs to the network namespace of the thread that opens it.
"""

import errno
import socket
from collections.abc import Iterator

from extip.errors import NetlinkError
from extip.net import nlmsg
from extip.net.netlink import open_netlink

_DATAGRAM = 16 * 2**10
"""Bytes that the kernel fills at most, since it never sends more than was asked for before."""
_BUFFER = 2**20
_BOUND_S = 1.0
"""For one answer of the kernel, which is there at once; a stop waits for the thread."""


def open_blocking(protocol: int) -> socket.socket:
    """Return a socket that waits for answers, a second at most. Raises OSError."""
    opened = open_netlink(_BUFFER, protocol=protocol)
    opened.settimeout(_BOUND_S)
    return opened


def answers(
    opened: socket.socket, request: str, datagram: bytes, sequence: int
) -> Iterator[tuple[memoryview, int, int]]:
    """Send a request of this sequence number; yield each message of the answer, up to its end.

    A message is its datagram and where it begins and ends there; it is gone with the next one.
    Raises OSError, and `NetlinkError` with the kernel's errno, or ``EINTR`` where the table changed
    meanwhile.
    """
    opened.send(datagram)
    buffer = bytearray(_DATAGRAM)
    while True:
        received = memoryview(buffer)[: opened.recv_into(buffer)]
        for kind, flags, of, _, start, end in nlmsg.messages(received):
            if of != sequence:
                continue
            if flags & nlmsg.NLM_F_DUMP_INTR:
                raise NetlinkError(errno.EINTR, request)
            if kind in (nlmsg.NLMSG_DONE, nlmsg.NLMSG_ERROR):
                if failure := nlmsg.error_of(received, start, end):
                    raise NetlinkError(failure, request)
                return
            yield received, start, end
