"""The address that the kernel takes as source for a destination; nothing is sent."""

import socket
from ipaddress import ip_address

from extip.net.interfaces import IPAddress

_PORT = 9  # discard; any would do
_V6 = 6


def source_of(destination: IPAddress) -> IPAddress | None:
    """Return the source of what this host would send there; None when it has no way there.

    A UDP socket that is connected has looked the route up, by all rules, and chosen its address.
    """
    family = socket.AF_INET6 if destination.version == _V6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((str(destination), _PORT))
        except OSError:
            return None
        chosen: str = asked.getsockname()[0]
    return ip_address(chosen)
