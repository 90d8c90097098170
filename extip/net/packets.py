"""Packet sockets: who has the capability gets them, as long as the kernel has some."""

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

from extip import log
from extip.errors import PermissionDeniedError
from extip.net import bpf, frames
from extip.net.interfaces import Link

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h

LARGEST = 2**16
"""Bytes that are read of a frame. Options may fill a message of neighbour discovery up to the MTU,
and a part of it has no sound checksum."""

_V4 = 4

_NEEDS_NET_RAW = (
    "the kernel does not let this process use packet sockets, to announce addresses and to listen "
    "for other stations: it lacks the capability CAP_NET_RAW"
)


class FrameSocket(Protocol):
    """Where frames leave."""

    def send(self, frame: bytes, /) -> int:
        """Send one Ethernet frame; raises OSError."""

    def close(self) -> None:
        """Give it back."""


def open_packet_socket() -> socket.socket:
    """Return a socket for frames that is on no interface yet, so that none is queued for it.

    Raises `PermissionDeniedError`, and OSError such as EMFILE and ENOMEM.
    """
    try:
        return socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
    except PermissionError as error:
        raise PermissionDeniedError(_NEEDS_NET_RAW) from error


def open_receiver(
    link: Link,
    version: int,
    program: bytes,
    *,
    room: int = 0,
    open_packets: Callable[[], socket.socket] = open_packet_socket,
) -> socket.socket:
    """Return a socket that receives ARP (`version` 4) or IPv6 frames which pass the program.

    `room` is the size of its queue in bytes (0: the system's default). Raises
    `PermissionDeniedError`, and OSError when the interface is gone or memory is short.
    """
    opened = open_packets()
    try:
        bpf.attach(opened, program)  # before it is bound: no frame is queued unfiltered
        if room:
            with contextlib.suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, room)
        opened.bind((link.name, frames.ETH_P_ARP if version == _V4 else frames.ETH_P_IPV6))
    except BaseException:
        opened.close()
        raise
    return opened


class FrameSockets:
    """Opens sockets that send; says once that there are none, until there are some again."""

    def __init__(
        self, component: str, open_packets: Callable[[], socket.socket] = open_packet_socket
    ) -> None:
        """`component` is who needs them, for the log."""
        self._open_packets = open_packets
        self._log = log.get_logger(component)
        self._short = False

    def open(self, link: Link) -> socket.socket | None:
        """Return a socket that sends on `link` and receives nothing; None when there is none now.

        Raises `PermissionDeniedError`.
        """
        try:
            opened = self._open_packets()
        except OSError as error:  # EMFILE, ENFILE, ENOMEM
            if not self._short:
                self._log.warning("socket_not_opened", link=link.name, error=str(error))
            self._short = True
            return None
        self._short = False
        try:
            opened.bind((link.name, 0))
        except OSError:  # gone, or renamed, since it was seen: the next look brings what it is now
            opened.close()
            return None
        return opened


def same_way(one: Link, other: Link) -> bool:
    """Whether frames go the same way: what else changes of an interface matters not."""
    return (one.index, one.name, one.mac) == (other.index, other.name, other.mac)
