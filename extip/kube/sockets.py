"""Sockets to the API server that notice when nobody is at the other end any more.

A server or a load balancer that loses power, or a firewall that forgets a connection, says nothing.
A watch that waits for events sends nothing either, so it would wait for as long as it has patience.

Guarantees: a connection over which nothing arrives, not even an acknowledgement, is broken by the
kernel within `UNANSWERED_S`, or at most `_PROBE_S` later.

Not guaranteed: that whoever acknowledges is the API server. A load balancer does for a server that
is dead behind it, and so does the kernel of a frozen one.
"""

import asyncio
import socket
from typing import Any

UNANSWERED_S = 5.0
"""Time without an acknowledgement after which a connection is given up, with data on the way or
without. Interruptions that are shorter than two probes break nothing."""

_IDLE_S = 3
"""Silence before the first probe. It decides what this costs: 40 bytes each way every 3 s for each
idle connection, of which a controller has four; less than its heartbeats."""

_PROBE_S = 1
"""Between two probes, when the first one is not answered."""

_RESOLVE_S = 5.0
"""Seconds for the resolution of a name."""


async def resolve(host: str) -> frozenset[str]:
    """Return the IPs of a name, or of an IP itself; none when it does not resolve now."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return frozenset()
    return frozenset(str(address[0]) for *_, address in found)


def open_socket(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket for an entry of `getaddrinfo`; aiohttp's `socket_factory`."""
    family, kind, protocol, *_ = address
    opened = socket.socket(family=family, type=kind, proto=protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_S)
    # It also takes the place of TCP_KEEPCNT.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * UNANSWERED_S))
    return opened
