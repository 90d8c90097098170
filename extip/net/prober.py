"""Asks who has an IP, by ARP probe and neighbour solicitation, and hears what stations say.

Open only while something is probed: a packet socket for each of ARP and IPv6 costs every frame of
its protocol a look by the kernel. A filter leaves all but neighbour discovery there.
"""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable

from extip.net import bpf, frames
from extip.net.announcer import FrameSocket, open_frame_socket
from extip.net.wire_filter import any_arp_program, any_ndp_program
from extip.plan.link import IPAddress, Link
from extip.plan.sighting import Sighting

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_STATISTICS = 1, 6
_PACKET_MR_ALLMULTI = 2
_SO_RCVBUFFORCE = 33

_MEMBERSHIP = struct.Struct("@iHH8s")  # struct packet_mreq: index, type, length and text of address
_STATISTICS = struct.Struct("@II")  # struct tpacket_stats: packets, drops

_RECEIVE_BUFFER = 4 * 2**20
_FRAME = 2048
_AT_ONCE = 4096
"""Most frames read in one go, some 20 ms of them: no storm may keep other tasks waiting."""


class ProbeSocket:
    """Implements `extip.reconcile.ports.ProbeWire`."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._sender: FrameSocket | None = None
        self._receivers: list[socket.socket] = []

    def open(self, link: Link, arrived: Callable[[], None]) -> None:
        """Listen on `link` and no other from now on; without effect when that is so already.

        `arrived` is called when there is something to `read`. An interface that is gone is
        silent. Raises PermissionDeniedError.
        """
        if self._sender is not None and self._link == link:
            return
        self.close()
        self._sender = open_frame_socket(link)
        if self._sender is None:
            return
        self._link = link
        loop = asyncio.get_running_loop()
        try:
            for protocol, program in (
                (frames.ETH_P_ARP, any_arp_program(own=link.mac)),
                (frames.ETH_P_IPV6, any_ndp_program(own=link.mac)),
            ):
                receiver = _open_receiver(link, protocol, program)
                self._receivers.append(receiver)
                loop.add_reader(receiver, arrived)
        except OSError:  # gone since it was seen
            self.close()

    def probe(self, ip: IPAddress) -> bool:
        """Send one frame; returns whether it went out."""
        if self._sender is None or self._link is None:
            return False
        try:
            self._sender.send(frames.probe(ip, self._link.mac))
        except OSError:  # ENETDOWN, ENXIO, ENOBUFS, EAGAIN
            return False
        return True

    def read(self) -> tuple[list[Sighting], bool]:
        """Return what arrived, less our own frames, and whether that is all there was."""
        found: list[Sighting] = []
        complete = True
        for receiver in self._receivers:
            complete &= self._drain(receiver, found)
        return found, complete

    def close(self) -> None:
        """Listen no more."""
        for receiver in self._receivers:
            asyncio.get_running_loop().remove_reader(receiver)
            receiver.close()
        self._receivers.clear()
        if self._sender is not None:
            self._sender.close()
        self._sender = self._link = None

    def _drain(self, receiver: socket.socket, found: list[Sighting]) -> bool:
        assert self._link is not None  # noqa: S101 - receivers come and go with it
        for _ in range(_AT_ONCE):
            try:
                frame = receiver.recv(_FRAME)
            except BlockingIOError:
                return _nothing_dropped(receiver)
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                continue  # said once when the interface goes down; the link is read anew then
            sighting = frames.parse(frame)
            if sighting is not None and sighting.mac != self._link.mac:
                found.append(sighting)
        return False


def _open_receiver(link: Link, protocol: int, program: bytes) -> socket.socket:
    opened = socket.socket(
        socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
    )
    try:
        with contextlib.suppress(PermissionError):
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        bpf.attach(opened, program)
        opened.bind((link.name, protocol))  # not before: what it hears must be filtered
        if protocol == frames.ETH_P_IPV6:
            # Other stations' probes go to a multicast group that this node has not joined.
            everything = _MEMBERSHIP.pack(link.index, _PACKET_MR_ALLMULTI, 0, b"")
            opened.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, everything)
    except BaseException:
        opened.close()
        raise
    return opened


def _nothing_dropped(receiver: socket.socket) -> bool:
    """Whether the kernel had room for every frame since it was last asked."""
    statistics = receiver.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    dropped: int = _STATISTICS.unpack(statistics)[1]
    return dropped == 0
