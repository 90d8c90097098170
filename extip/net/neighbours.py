"""Asks neighbours for their MACs, as the kernel does, and keeps the answers until they are read.

The kernel drops all but answers to this very station (see `wire_filter`), and nobody is woken by
one: whoever asked looks a round later. The socket for a family is opened for the first question.
"""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address

from extip.net import bpf, frames
from extip.net.packets import FrameSocket, FrameSockets, open_packet_socket, same_way
from extip.net.wire_filter import arp_answers_program, ndp_answers_program
from extip.plan.isolation import Question
from extip.plan.link import IPAddress, Link

_EXHAUSTED = frozenset({errno.ENOBUFS, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""For the moment; it says nothing against the sockets that are open."""

_LARGEST = 256
"""Bytes that are read of a frame: more than any ARP or neighbour discovery message needs."""

_AT_ONCE = 256
"""Frames that are read in one go; each neighbour that is asked answers once."""


class NeighbourSocket:
    """Implements `extip.reconcile.isolation.Segment`; it belongs to one task."""

    def __init__(self, open_packets: Callable[[], socket.socket] = open_packet_socket) -> None:
        self._open_packets = open_packets
        self._senders = FrameSockets("isolation", open_packets)
        self._link: Link | None = None
        self._sender: FrameSocket | None = None
        self._receivers: dict[int, socket.socket] = {}

    def open(self, link: Link) -> None:
        """Use `link` and no other from now on; without effect when that is so already.

        Raises PermissionDeniedError.
        """
        if self._sender is not None and self._link is not None and same_way(self._link, link):
            return
        self.close()
        self._sender, self._link = self._senders.open(link), link

    def ask(self, questions: Iterable[Question]) -> list[IPAddress]:
        """Ask neighbours for their MACs; return which questions went out, and can be answered."""
        try:
            return [question.ip for question in questions if self._sends(question)]
        except OSError:  # ENETDOWN, or taken off its interface: all is opened anew
            self.close()
            return []

    def _sends(self, question: Question) -> bool:
        """Return whether the frame went out; raises OSError when these sockets are of no use."""
        if self._sender is None or self._link is None:
            return False
        ip = question.ip
        if ip.version not in self._receivers:
            try:
                self._receivers[ip.version] = self._receive(ip, self._link)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return False
                raise
        try:
            self._sender.send(frames.question(ip, self._link.mac, question.source, question.mac))
        except OSError as error:
            if error.errno in _EXHAUSTED:
                return False
            raise
        return True

    def answers(self) -> dict[IPAddress, bytes]:
        """Return the MACs of those that answered since this was called last."""
        found: dict[IPAddress, bytes] = {}
        for receiver in self._receivers.values():
            with contextlib.suppress(OSError):  # there is no more, or no interface
                for _ in range(_AT_ONCE):
                    sighting = frames.parse(receiver.recv(_LARGEST))
                    if sighting is not None:
                        found[sighting.ip] = sighting.mac
        return found

    def close(self) -> None:
        """Give everything back."""
        for receiver in self._receivers.values():
            receiver.close()
        self._receivers.clear()
        if self._sender is not None:
            self._sender.close()
        self._sender = self._link = None

    def _receive(self, ip: IPAddress, link: Link) -> socket.socket:
        """Return a socket for answers of the family of `ip`; raises OSError."""
        v4 = isinstance(ip, IPv4Address)
        opened = self._open_packets()
        try:
            bpf.attach(opened, arp_answers_program() if v4 else ndp_answers_program())
            opened.bind((link.name, frames.ETH_P_ARP if v4 else frames.ETH_P_IPV6))
        except BaseException:
            opened.close()
            raise
        return opened
