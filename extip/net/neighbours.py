"""Asks neighbours for their MACs, as the kernel does, and keeps the answers until they are read.

The kernel drops all but answers to this very station (see `wire_filter`), and nobody is woken by
one: whoever asked looks a round later. The socket for a family is opened for the first question.
"""

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address

from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from extip.net.neighbour_events import Question
from extip.net.packets import (
    LARGEST,
    FrameSocket,
    FrameSockets,
    open_packet_socket,
    open_receiver,
    same_way,
)
from extip.net.wire_filter import arp_answers_program, ndp_answers_program

_EXHAUSTED = frozenset({errno.ENOBUFS, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""For the moment; it says nothing against the sockets that are open."""

_AT_ONCE = 256
"""Frames that are read in one go; each neighbour that is asked answers once."""


class NeighbourSocket:
    """Implements `extip.uplink.link_rounds.Segment`; it belongs to one task."""

    def __init__(self, open_packets: Callable[[], socket.socket] = open_packet_socket) -> None:
        self._open_packets = open_packets
        self._senders = FrameSockets("isolation", open_packets)
        self._link: Link | None = None
        self._sender: FrameSocket | None = None
        self._receivers: dict[int, socket.socket] = {}
        self._questions: Sequence[Question] = ()
        self._frames: Sequence[tuple[IPAddress, bytes]] = ()
        """Built once for as long as the questions are the same."""
        self._known: dict[bytes, tuple[IPAddress, bytes]] = {}
        """Content of the answers that came of late; most are the same as before."""

    def open(self, link: Link) -> None:
        """Use `link` and no other from now on; without effect when that is so already.

        Raises PermissionDeniedError.
        """
        if self._sender is not None and self._link is not None and same_way(self._link, link):
            return
        self.close()
        self._sender, self._link = self._senders.open(link), link

    def ask(self, questions: Sequence[Question]) -> list[IPAddress]:
        """Ask neighbours for their MACs; return which questions went out, and can be answered."""
        if self._link is None:
            return []
        if questions is not self._questions:
            self._prepare(questions, self._link.mac)
        try:
            return [ip for ip, frame in self._frames if self._sends(ip, frame, self._link)]
        except OSError:  # ENETDOWN, or taken off its interface: all is opened anew
            self.close()
            return []

    def _prepare(self, questions: Sequence[Question], mac: bytes) -> None:
        self._questions = questions
        self._frames = [(q.ip, frames.question(q.ip, mac, q.source, q.mac)) for q in questions]
        asked = {question.ip.version for question in questions}
        for version in self._receivers.keys() - asked:  # to look in vain costs as much as to read
            self._receivers.pop(version).close()

    def _sends(self, ip: IPAddress, frame: bytes, link: Link) -> bool:
        """Return whether the frame went out; raises OSError when these sockets are of no use."""
        if self._sender is None:
            return False
        try:
            if ip.version not in self._receivers:
                self._receivers[ip.version] = self._receive(ip, link)
            self._sender.send(frame)
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
                    self._read(receiver.recv(LARGEST), found)
        return found

    def _read(self, frame: bytes, found: dict[IPAddress, bytes]) -> None:
        """Add what a frame says."""
        known = self._known.get(frame)
        if known is None:
            event = frames.parse(frame)
            if event is None:
                return
            if len(self._known) >= _AT_ONCE:
                self._known.clear()
            known = self._known[frame] = event.ip, event.mac
        found[known[0]] = known[1]

    def close(self) -> None:
        """Give everything back."""
        for receiver in self._receivers.values():
            receiver.close()
        self._receivers.clear()
        if self._sender is not None:
            self._sender.close()
        self._sender = self._link = None
        self._questions = self._frames = ()

    def _receive(self, ip: IPAddress, link: Link) -> socket.socket:
        """Return a socket for answers of the family of `ip`; raises OSError."""
        program = arp_answers_program() if isinstance(ip, IPv4Address) else ndp_answers_program()
        return open_receiver(link, ip.version, program, open_packets=self._open_packets)
