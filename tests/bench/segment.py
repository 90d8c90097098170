"""A node's interface and a neighbour that listens, in two private network namespaces."""

import os
import socket
import struct
from contextlib import ExitStack
from typing import Self

from tests.netns.namespace import PrivateNamespace

IFACE = "v0"

_ETH_P_ARP = 0x0806
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_RECEIVE_BUFFER = 8 * 2**20
_TIMESPEC = struct.Struct("=qq")
_SENDER_IP = slice(28, 32)  # in an Ethernet frame with ARP for IPv4


class Segment:
    """Enter it to be in a fresh network namespace with the interface `IFACE`, up.

    Its other end is in a second namespace, where a packet socket of this process keeps every ARP
    frame together with the time at which the kernel took it from the wire.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            near = stack.enter_context(PrivateNamespace())
            near_end = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                with PrivateNamespace() as far:
                    place = f"/proc/{os.getpid()}/fd/{near_end}"
                    far.ip(f"link add v1 type veth peer name {IFACE} netns {place}")
                    far.ip("link set v1 addrgenmode none", "link set v1 up")
                    self._listener = stack.enter_context(_listen("v1"))
            finally:
                os.close(near_end)
            near.ip(f"link set {IFACE} addrgenmode none", f"link set {IFACE} up")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def heard(self) -> dict[bytes, float]:
        """Return when each IPv4 sender was first heard (`time.time`), of the frames until now."""
        first: dict[bytes, float] = {}
        while True:
            try:
                frame, ancillary, _, _ = self._listener.recvmsg(2048, 64)
            except BlockingIOError:
                return first
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            first.setdefault(frame[_SENDER_IP], seconds + nanoseconds / 1e9)


def _listen(interface: str) -> socket.socket:
    listener = socket.socket(
        socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ARP)
    )
    listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    listener.bind((interface, _ETH_P_ARP))
    return listener
