"""Sends ARP probes and neighbour solicitations for an IP, and receives the frames of stations.

There is a packet socket for ARP and one for IPv6. A filter in the kernel drops everything but
neighbour discovery, and while nothing is probed it drops everything. The sockets stay open: to
close one takes the kernel tens of milliseconds, in which nothing else could be done. The socket for
IPv6 is opened for the first IPv6 address.
"""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable

from extip.net import bpf, frames
from extip.net.interfaces import IPAddress, Link
from extip.net.neighbour_events import NeighbourEvent
from extip.net.packets import LARGEST, FrameSocket, FrameSockets, open_receiver, same_way
from extip.net.wire_filter import any_arp_program, any_ndp_program

_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_DROP_MEMBERSHIP, _PACKET_STATISTICS = 1, 2, 6
_PACKET_MR_ALLMULTI = 2

_MEMBERSHIP = struct.Struct("@iHH8s")  # struct packet_mreq: index, type, length and text of address
_STATISTICS = struct.Struct("@II")  # struct tpacket_stats: packets, drops

_NOTHING = bpf.pack([(bpf.RETURN, 0, 0, bpf.DROP)])
_V6 = 6

_RECEIVE_BUFFER = 4 * 2**20
_AT_ONCE = 4096
"""Most frames read in one go, some 20 ms of them: no storm may keep other tasks waiting."""


class ProbeSocket:
    """Implements `extip.addresses.ports.ProbeWire`."""

    def __init__(self) -> None:
        self._senders = FrameSockets("prober")
        self._link: Link | None = None
        self._arrived: Callable[[], None] | None = None
        self._sender: FrameSocket | None = None
        self._receivers: dict[int, socket.socket] = {}
        self._listening: set[int] = set()
        self._deaf = False
        """Sockets that listened were closed, maybe with answers in them."""

    def open(self, link: Link, arrived: Callable[[], None]) -> None:
        """Use `link` and no other from now on; without effect when that is so already.

        `arrived` is called when there is something to `read`. An interface that is gone is
        silent. Raises PermissionDeniedError.
        """
        if self._sender is not None and self._link is not None and same_way(self._link, link):
            return
        self.close()
        self._sender = self._senders.open(link)
        self._link, self._arrived = link, arrived

    def probe(self, ip: IPAddress) -> bool:
        """Listen for answers, and send one frame; returns whether it went out."""
        for _ in range(2):
            if self._sender is None or self._link is None:
                return False
            try:
                if ip.version not in self._listening:
                    self._listen(ip.version, self._link)
                self._sender.send(frames.probe(ip, self._link.mac))
            except OSError as error:  # or ENETDOWN, ENOBUFS, EAGAIN
                if error.errno not in (errno.ENXIO, errno.ENODEV):
                    return False
                self._open_anew()
            else:
                return True
        return False

    def read(self) -> tuple[list[NeighbourEvent], bool]:
        """Return what arrived, less our own frames, and whether that is all there was."""
        found: list[NeighbourEvent] = []
        complete, self._deaf = not self._deaf, False
        for receiver in self._receivers.values():
            complete &= self._drain(receiver, found)
        return found, complete

    def pause(self) -> None:
        """Listen no more until the next probe; what has arrived is forgotten."""
        if not self._listening:
            return
        for version in self._listening:
            receiver = self._receivers[version]
            with contextlib.suppress(OSError):
                bpf.attach(receiver, _NOTHING)
            if version == _V6 and self._link is not None:
                with contextlib.suppress(OSError):  # gone with the interface
                    _hear_all_groups(receiver, self._link, _PACKET_DROP_MEMBERSHIP)
        self._listening.clear()
        self.read()

    def close(self) -> None:
        """Give everything back."""
        for receiver in self._receivers.values():
            asyncio.get_running_loop().remove_reader(receiver)
            receiver.close()
        self._receivers.clear()
        self._listening.clear()
        if self._sender is not None:
            self._sender.close()
        self._sender = self._link = self._arrived = None
        self._deaf = False

    def _open_anew(self) -> None:
        """Open all sockets anew: the kernel has taken them off their interface for good.

        The interface may exist again, with the same index, name and MAC. So no other part notices.
        Raises PermissionDeniedError.
        """
        link, arrived = self._link, self._arrived
        deaf = self._deaf or bool(self._listening)
        self.close()
        if link is not None and arrived is not None:
            self.open(link, arrived)
        self._deaf = deaf

    def _listen(self, version: int, link: Link) -> None:
        """Have frames of a family queued from now on; raises OSError."""
        own = link.mac
        program = any_ndp_program(own=own) if version == _V6 else any_arp_program(own=own)
        receiver = self._receivers.get(version)
        if receiver is None:
            assert self._arrived is not None  # noqa: S101 - comes with the link
            receiver = open_receiver(link, version, program, room=_RECEIVE_BUFFER)
            self._receivers[version] = receiver
            asyncio.get_running_loop().add_reader(receiver, self._arrived)
        else:
            bpf.attach(receiver, program)
        if version == _V6:
            _hear_all_groups(receiver, link, _PACKET_ADD_MEMBERSHIP)
        self._listening.add(version)

    def _drain(self, receiver: socket.socket, found: list[NeighbourEvent]) -> bool:
        assert self._link is not None  # noqa: S101 - receivers come and go with it
        for _ in range(_AT_ONCE):
            try:
                frame = receiver.recv(LARGEST)
            except BlockingIOError:
                return _nothing_dropped(receiver)
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                if not receiver.getsockname()[0]:
                    return False  # off its interface, and deaf since then
                continue  # said once when the interface goes down; the link is read anew then
            event = frames.parse(frame)
            if event is not None and event.mac != self._link.mac:
                found.append(event)
        return False


def _hear_all_groups(receiver: socket.socket, link: Link, change: int) -> None:
    """Begin or end to hear every multicast group; raises OSError.

    Other stations' probes go to groups that this node has not joined.
    """
    membership = _MEMBERSHIP.pack(link.index, _PACKET_MR_ALLMULTI, 0, b"")
    receiver.setsockopt(_SOL_PACKET, change, membership)


def _nothing_dropped(receiver: socket.socket) -> bool:
    """Whether the kernel had room for every frame since it was last asked."""
    statistics = receiver.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    dropped: int = _STATISTICS.unpack(statistics)[1]
    return dropped == 0
