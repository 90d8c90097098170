"""Plain values: the frames of other stations about IPs, for ARP and NDP alike.

`extip.net` reads them from the wire; policies decide over them.
"""

from dataclasses import dataclass
from enum import Enum

from extip.net.interfaces import IPAddress


class FrameKind(Enum):
    """The kind of a frame about an IP."""

    ANNOUNCEMENT = "announcement"
    """It has the IP: any ARP from it, or a neighbour advertisement."""
    PROBE = "probe"
    """It asks whether anybody has the IP, before it takes it."""


@dataclass(frozen=True, slots=True)
class NeighbourEvent:
    """One station's word about one IP."""

    ip: IPAddress
    mac: bytes
    kind: FrameKind


@dataclass(frozen=True, slots=True)
class Question:
    """One neighbour is asked for its MAC."""

    ip: IPAddress
    source: IPAddress
    """An address of this node on the interface."""
    mac: bytes = b""
    """Where it is known: then nobody else is asked."""
