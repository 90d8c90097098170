"""A raw ``AF_NETLINK`` socket for requests to rtnetlink(7): sends them, collects the answers.

rtnetlink works synchronously: when ``send`` returns, the kernel has done what the datagram asks
for, and the answers wait in the socket. So a call neither needs nor makes a task; it keeps the
loop for as long as the kernel takes for one datagram, and yields to it between two.

Guarantees: calls are serialised; one that is cancelled leaves the socket usable (answers that it
left behind are dropped by their sequence number). The socket belongs to the network namespace in
which the ``async with`` block was entered.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from extip.clock import Clock
from extip.errors import NetlinkError, PermissionDeniedError
from extip.net import nlmsg

NEEDS_NET_ADMIN = (
    "the kernel does not let this process change the interface: it lacks the capability "
    "CAP_NET_ADMIN"
)

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33

_RECEIVE_BUFFER = 4 * 2**20
DATAGRAM = 64 * 2**10
"""Bytes of a buffer for one datagram; the kernel fills at most 32 KiB in a dump."""

_TURN = 16 * 2**10
"""Bytes of answers after which other tasks get their turn: those of a look-up are small."""

DUMP_ATTEMPTS = 6
DUMP_RETRY_S = 0.005
"""A dump that the kernel calls inconsistent is repeated, each time after so much longer."""

_T = TypeVar("_T")


@dataclass(slots=True)
class Reply(Generic[_T]):
    """The kernel's answers to the requests of one datagram."""

    items: list[_T] = field(default_factory=list)
    errors: dict[int, int] = field(default_factory=dict)
    """Errno by sequence number, of the requests that failed."""
    interrupted: bool = False
    """The table changed while it was dumped (``NLM_F_DUMP_INTR``): items may be missing."""


def open_netlink(
    receive_buffer: int, groups: int = 0, *, protocol: int = socket.NETLINK_ROUTE
) -> socket.socket:
    """Return a non-blocking netlink socket, bound to a port and multicast groups."""
    opened = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol
    )
    try:
        try:
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer)
        except PermissionError:  # needs CAP_NET_ADMIN in the first user namespace
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        for option in (_NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
            with contextlib.suppress(OSError):  # Linux 4.2 and 4.20
                opened.setsockopt(_SOL_NETLINK, option, 1)
        opened.bind((0, groups))
    except BaseException:
        opened.close()
        raise
    return opened


class NetlinkSocket:
    """One request socket; enter it to open it."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._buffer = bytearray(DATAGRAM)
        self._sequence = 0
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        """Open the socket. Raises `NetlinkError`."""
        try:
            self._socket = open_netlink(_RECEIVE_BUFFER)
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, "open netlink socket") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened, self._socket = self._socket, None
        if opened:
            opened.close()

    @property
    def port(self) -> int:
        """Netlink port of this socket: notifications carry the port of who caused them."""
        port: int = self._opened().getsockname()[0]
        return port

    def reserve(self, count: int) -> int:
        """Return the first of `count` consecutive sequence numbers."""
        if self._sequence + count >= 2**32:
            self._sequence = 0  # 0 itself is what the kernel's own messages carry
        first = self._sequence + 1
        self._sequence += count
        return first

    async def call(
        self,
        request: str,
        datagram: bytes,
        sequences: range,
        decode: Callable[[nlmsg.Buffer, int, int], _T | None],
    ) -> Reply[_T]:
        """Send a datagram of requests and return the answers to all of them.

        The last request asks for an acknowledgement or is a dump. `decode` is called for every
        message that is neither. Raises `NetlinkError` when the socket itself fails.
        """
        reply: Reply[_T] = Reply()
        try:
            async with self._lock:
                opened = self._opened()
                self._discard_stale(opened)
                opened.send(datagram)
                taken = 0
                while not self._take(
                    received := await self._receive(opened), sequences, decode, reply
                ):
                    taken += len(received)
                    if taken >= _TURN:
                        await self._clock.sleep(0)
                        taken = 0
        except OSError as error:
            raise NetlinkError(error.errno or errno.EIO, request) from error
        return reply

    async def table(
        self,
        request: str,
        build: Callable[[int], bytes],
        decode: Callable[[nlmsg.Buffer, int, int], _T | None],
    ) -> list[_T]:
        """Return a whole table; `build` makes the request from a sequence number.

        A dump that the kernel calls inconsistent is no evidence of anything and is repeated, a
        few times; then, and when the kernel refuses, `NetlinkError` is raised.
        """
        for attempt in range(DUMP_ATTEMPTS):
            first = self.reserve(1)
            reply = await self.call(request, build(first), range(first, first + 1), decode)
            if first in reply.errors:
                raise NetlinkError(reply.errors[first], request)
            if not reply.interrupted:
                return reply.items
            await self._clock.sleep(DUMP_RETRY_S * attempt)
        raise NetlinkError(errno.EINTR, f"{request} ({DUMP_ATTEMPTS} times)")

    def _opened(self) -> socket.socket:
        if self._socket is None:
            raise NetlinkError(errno.EBADF, "netlink socket is not open")
        return self._socket

    def _discard_stale(self, opened: socket.socket) -> None:
        """Read away what a cancelled call left; that also finishes a dump in the kernel."""
        with contextlib.suppress(BlockingIOError):
            while True:
                opened.recv_into(self._buffer)

    async def _receive(self, opened: socket.socket) -> memoryview:
        try:
            size = opened.recv_into(self._buffer)
        except BlockingIOError:
            size = await asyncio.get_running_loop().sock_recv_into(opened, self._buffer)
        return memoryview(self._buffer)[:size]

    @staticmethod
    def _take(
        received: memoryview,
        sequences: range,
        decode: Callable[[nlmsg.Buffer, int, int], _T | None],
        reply: Reply[_T],
    ) -> bool:
        """Sort one received datagram into the reply; return whether the reply is complete."""
        append = reply.items.append
        last = sequences[-1]
        for kind, flags, sequence, _, start, end in nlmsg.messages(received):
            if sequence not in sequences:
                continue
            if flags & nlmsg.NLM_F_DUMP_INTR:
                reply.interrupted = True
            if kind > nlmsg.NLMSG_DONE:
                decoded = decode(received, start, end)
                if decoded is not None:
                    append(decoded)
                continue
            failure = nlmsg.error_of(received, start, end)
            if failure:
                reply.errors[sequence] = failure
            if sequence == last:
                return True
        return False


def raise_if_not_permitted(errors: dict[int, int]) -> None:
    """Raise `PermissionDeniedError` when the kernel refused a request for lack of privilege."""
    if errno.EPERM in errors.values():
        raise PermissionDeniedError(NEEDS_NET_ADMIN)


def nothing(_buffer: nlmsg.Buffer, _start: int, _end: int) -> None:
    """Decode the answer to a change: there is none but errors and the acknowledgement."""
