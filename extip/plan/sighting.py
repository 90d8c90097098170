"""What stations of the segment say about IPs, whatever the protocol: plain values.

`extip.net` reads them off the wire; plans decide over them.
"""

from dataclasses import dataclass
from enum import Enum

from extip.plan.link import IPAddress


class Kind(Enum):
    """What a station said about an IP."""

    CLAIM = "claim"
    """It has the IP: any ARP from it, or a neighbour advertisement."""
    PROBE = "probe"
    """It asks whether anybody has the IP, before it takes it."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One station's word about one IP."""

    ip: IPAddress
    mac: bytes
    kind: Kind
