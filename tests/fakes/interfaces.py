"""Interfaces as the kernel reports them."""

from typing import Any

from extip.net.interfaces import Link
from extip.net.link_selection import LinkSelection

ETH0 = LinkSelection.parse("eth0")


def ethernet(**changed: Any) -> Link:
    """Return an Ethernet interface that is up and has carrier."""
    usual: dict[str, Any] = {
        "index": 2,
        "name": "eth0",
        "mac": b"\2\0\0\0\0\1",
        "up": True,
        "carrier": True,
        "announces": True,
        "mtu": 1500,
        "promotes_secondaries": False,
    }
    return Link(**(usual | changed))
